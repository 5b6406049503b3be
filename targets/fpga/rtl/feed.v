// feed: frames out of a memory (see frame), beat after beat, as fast as they are taken.
//
//   BEATS    of a frame
//   ADDRESS  bits of the memory's address
//   COUNT    bits of the number of frames
//
// The beats themselves are the memory's `q`.
//
// Timing: `start` is high for one clock, with the number of frames, 1 or more. The first beat can be
// taken three clock edges later; then one can be taken at each. `read` and `move` follow from
// `m_ready` through two gates: it has to come from a register.
module feed #(
    parameter BEATS = 64,
    parameter ADDRESS = BEATS > 1 ? $clog2(BEATS) : 1,
    parameter COUNT = 16
) (
    input wire clk,
    input wire rst,
    input wire start,
    input wire [COUNT-1:0] frames,
    output wire read,
    output reg [ADDRESS-1:0] address,
    output wire move,
    output reg m_valid,
    input wire m_ready
);

    localparam [31:0] LAST = BEATS - 1;

    reg [COUNT-1:0] left;  // frames, with the one that is being read
    reg active;  // whether `left` is not 0
    reg loaded;  // whether the memory holds a beat that is not in `q`

    assign move = !m_valid || m_ready;
    assign read = active && (!loaded || move);

    always @(posedge clk) begin
        if (move) m_valid <= loaded;
        if (!loaded || move) loaded <= active;
        if (start) begin
            left <= frames;
            active <= 1'b1;
            address <= {ADDRESS{1'b0}};
        end else if (read) begin
            address <= address + 1'b1;
            if (address == LAST[ADDRESS-1:0]) begin
                address <= {ADDRESS{1'b0}};
                left <= left - 1'b1;
                active <= left != 1;
            end
        end
        if (rst) begin
            active <= 1'b0;
            loaded <= 1'b0;
            m_valid <= 1'b0;
        end
    end

endmodule
