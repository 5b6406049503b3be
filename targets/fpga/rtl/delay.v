// The same bits, CYCLES cycles later; zeros after a reset.
module delay #(
    parameter WIDTH = 1,
    parameter CYCLES = 1
) (
    input clk,
    input rst,
    input [WIDTH-1:0] in,
    output [WIDTH-1:0] out
);
    generate
        if (CYCLES == 0) begin : none
            assign out = in;
        end else begin : some
            reg [CYCLES*WIDTH-1:0] bits;
            always @(posedge clk) bits <= rst ? 0 : {bits, in};
            assign out = bits[CYCLES*WIDTH-1-:WIDTH];
        end
    endgenerate
endmodule
