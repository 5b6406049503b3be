// The same bits in COPIES registers, so that each can stand near those that read it.
//
// Timing: one cycle. Tools would make one register of them again: on an ECP5 they are told which cells
// to take, which they leave alone.
module copies #(
    parameter WIDTH = 8,
    parameter COPIES = 1
) (
    input clk,
    input [WIDTH-1:0] in,
    output [COPIES*WIDTH-1:0] out
);
    genvar i;
    generate
        for (i = 0; i < COPIES * WIDTH; i = i + 1) begin : bits
`ifdef TAPEOUT_ECP5
            (* keep *)
            TRELLIS_FF #(
                .GSR("DISABLED"),
                .CEMUX("1"),
                .CLKMUX("CLK"),
                .LSRMUX("LSR"),
                .REGSET("RESET")
            ) copy (
                .CLK(clk), .LSR(1'b0), .CE(1'b1), .DI(in[i%WIDTH]), .Q(out[i])
            );
`else
            (* keep *) reg copy;
            always @(posedge clk) copy <= in[i%WIDTH];
            assign out[i] = copy;
`endif
        end
    endgenerate
endmodule
