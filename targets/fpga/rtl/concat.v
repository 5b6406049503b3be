// concat: two images one behind the other along the channels.
//
//   PE              channels in a beat, of both and of the result
//   FIRST, SECOND   beats in a pixel of either
//
// Timing, in clock edges: FIRST beats of s0, then SECOND beats of s1, and so on; each moves in at
// t, and its copy can be taken at t + 1 and later; the next beat moves in no earlier than this one
// is taken, at that same edge if it is there. `s0_ready` and `s1_ready` depend on `m_ready` through
// one gate.
module concat #(
    parameter PE = 1,
    parameter FIRST = 1,
    parameter SECOND = 1
) (
    input wire clk,
    input wire rst,
    input wire s0_valid,
    output wire s0_ready,
    input wire [PE*8-1:0] s0_data,
    input wire s1_valid,
    output wire s1_ready,
    input wire [PE*8-1:0] s1_data,
    output reg m_valid,
    input wire m_ready,
    output reg [PE*8-1:0] m_data
);

    localparam COUNT = $clog2((FIRST > SECOND ? FIRST : SECOND) + 1);

    reg second;  // whose beat is next
    reg [COUNT-1:0] left;  // beats of it in this pixel, after the next one

    wire free = !m_valid || m_ready;
    wire move = free && (second ? s1_valid : s0_valid);

    assign s0_ready = !second && free;
    assign s1_ready = second && free;

    always @(posedge clk) begin
        if (move) m_data <= second ? s1_data : s0_data;

        if (rst) m_valid <= 1'b0;
        else if (free) m_valid <= move;

        if (rst) begin
            second <= 1'b0;
            left <= FIRST - 1;
        end else if (move) begin
            if (left == 0) second <= !second;
            left <= left != 0 ? left - 1'b1 : second ? FIRST - 1 : SECOND - 1;
        end
    end

endmodule
