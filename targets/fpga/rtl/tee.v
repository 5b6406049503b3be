// tee: one stream to two readers, each of which takes its copy of a beat when it can (eager).
//
//   WIDTH  bits of a beat
//
// Timing, in clock edges: a beat moves in at t; each reader can take it at t + 1 and later; the
// next beat moves in no earlier than the later of the two takes this one, at that same edge if it
// is there. `s_ready` depends on `m0_ready` and `m1_ready` through one gate.
module tee #(
    parameter WIDTH = 8
) (
    input wire clk,
    input wire rst,
    input wire s_valid,
    output wire s_ready,
    input wire [WIDTH-1:0] s_data,
    output wire m0_valid,
    input wire m0_ready,
    output wire [WIDTH-1:0] m0_data,
    output wire m1_valid,
    input wire m1_ready,
    output wire [WIDTH-1:0] m1_data
);

    reg [WIDTH-1:0] data;
    reg [1:0] pending;  // which readers have not taken `data`

    assign m0_valid = pending[0];
    assign m1_valid = pending[1];
    assign m0_data = data;
    assign m1_data = data;
    assign s_ready = (pending & ~{m1_ready, m0_ready}) == 0;

    always @(posedge clk) begin
        if (s_valid && s_ready) data <= s_data;

        if (rst) pending <= 2'b00;
        else if (s_ready) pending <= {2{s_valid}};
        else pending <= pending & ~{m1_ready, m0_ready};
    end

endmodule
