// argmax: the index of the largest channel of each pixel, the first of several, in 16 bits.
//
//   CHANNELS  of a pixel, one in a beat
//
// Timing, in cycles: if the last channel of a pixel is accepted in n, the index is offered from
// n + 1 on; the last channel of the next pixel is accepted no earlier than in the cycle in which
// the index is taken. `s_ready` depends on `m_ready` through one gate.
module argmax #(
    parameter CHANNELS = 10
) (
    input clk,
    input rst,
    input s_valid,
    output s_ready,
    input [7:0] s_data,
    output reg m_valid,
    input m_ready,
    output reg [15:0] m_data
);

    reg [15:0] channel;
    reg [15:0] index;  // of the largest so far
    reg signed [7:0] largest;
    reg first, last;  // whether `channel` is

    wire better = first || $signed(s_data) > largest;
    wire move = s_valid && s_ready;

    assign s_ready = !last || !m_valid || m_ready;

    always @(posedge clk) begin
        if (move && better) begin
            largest <= s_data;
            index <= channel;
        end
        if (move && last) m_data <= better ? channel : index;

        if (rst) m_valid <= 1'b0;
        else if (move && last) m_valid <= 1'b1;
        else if (m_ready) m_valid <= 1'b0;

        if (rst) begin
            channel <= 16'd0;
            first <= 1'b1;
            last <= CHANNELS == 1;
        end else if (move) begin
            channel <= last ? 16'd0 : channel + 16'd1;
            first <= last;
            last <= last ? CHANNELS == 1 : channel == CHANNELS - 2;
        end
    end

endmodule
