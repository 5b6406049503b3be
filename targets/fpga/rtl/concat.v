// concat: N images one behind the other along the channels. Its input streams are one port each of
// valid, ready and data: stream 0 in the lowest bits.
//
//   N      streams in, at least 2
//   PE     channels in a beat, of each and of the result
//   BEATS  in a pixel of each: 16 bits for every stream, those of stream 0 the lowest
//
// Timing, in cycles: the beats of a pixel of stream 0, of stream 1, and so on; the copy of one that
// is accepted in n is offered from n + 1 on; the next one is accepted no earlier than in the cycle
// in which this is taken. `s_ready` depends on `m_ready` through one gate.
module concat #(
    parameter N = 2,
    parameter PE = 1,
    parameter BEATS = 32'h00010001
) (
    input clk,
    input rst,
    input [N-1:0] s_valid,
    output [N-1:0] s_ready,
    input [N*PE*8-1:0] s_data,
    output reg m_valid,
    input m_ready,
    output reg [PE*8-1:0] m_data
);

    localparam INDEX_BITS = $clog2(N);
    localparam [16*N-1:0] COUNTS = BEATS;

    reg [INDEX_BITS-1:0] stream;  // whose beat is next
    reg [15:0] left;  // beats of it in this pixel, after the next one

    wire [INDEX_BITS-1:0] following = stream == N - 1 ? 0 : stream + 1'b1;
    wire free = !m_valid || m_ready;
    wire move = free && s_valid[stream];

    assign s_ready = free << stream;

    always @(posedge clk) begin
        if (move) m_data <= s_data[stream*PE*8+:PE*8];

        if (rst) m_valid <= 1'b0;
        else if (free) m_valid <= move;

        if (rst) begin
            stream <= 0;
            left <= COUNTS[15:0] - 16'd1;
        end else if (move) begin
            if (left == 0) stream <= following;
            left <= (left == 0 ? COUNTS[following*16+:16] : left) - 16'd1;
        end
    end

endmodule
