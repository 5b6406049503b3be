// tee: one stream to two readers, each of which takes its copy of a beat when it can (eager).
//
//   WIDTH  bits of a beat
//
// Timing, in cycles: a beat that is accepted in n is offered to each reader from n + 1 on; the next
// one is accepted no earlier than in the cycle in which the later of the two takes this one.
// `s_ready` depends on `m0_ready` and `m1_ready` through one gate.
module tee #(
    parameter WIDTH = 8
) (
    input clk,
    input rst,
    input s_valid,
    output s_ready,
    input [WIDTH-1:0] s_data,
    output m0_valid,
    input m0_ready,
    output [WIDTH-1:0] m0_data,
    output m1_valid,
    input m1_ready,
    output [WIDTH-1:0] m1_data
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
