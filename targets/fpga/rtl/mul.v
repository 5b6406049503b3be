// A signed multiplier: p = a * b, three cycles later.
//
// A_BITS, B_BITS: at most 18 each; b is the weight where there is one.
// STYLE: "block" takes one multiplier of the device; "logic" takes none, for b of 1 or 2 bits.
//
// Timing: a and b of cycle n give p in cycle n + 3; no stalls, no reset.
//
// TAPEOUT_ECP5 and TAPEOUT_ICE40 choose the device's own multiplier, with all its registers in use;
// else the registers below are what other devices' tools put into theirs.
module mul #(
    parameter A_BITS = 18,
    parameter B_BITS = 18,
    parameter STYLE = "block"
) (
    input clk,
    input signed [A_BITS-1:0] a,
    input signed [B_BITS-1:0] b,
    output signed [A_BITS+B_BITS-1:0] p
);
    localparam BITS = A_BITS + B_BITS;

    generate
        if (STYLE == "logic") begin : logic_
            // b = low - 2 * high: either a, or nothing, less twice a, or nothing.
            wire low = B_BITS > 1 && b[0];
            wire high = b[B_BITS-1];
            wire signed [A_BITS+1:0] once = low ? a : 0;
            wire signed [A_BITS+1:0] twice = high ? (B_BITS > 1 ? a <<< 1 : a) : 0;
            reg signed [BITS-1:0] first, second, third;
            always @(posedge clk) begin
                first <= once - twice;
                second <= first;
                third <= second;
            end
            assign p = third;
        end else begin : block
`ifdef TAPEOUT_ECP5
            // The numbers stand at the upper end of the ports, so that the lower bits are constants.
            wire [17:0] left = {a, {(18 - A_BITS) {1'b0}}};
            wire [17:0] right = {b, {(18 - B_BITS) {1'b0}}};
            wire [35:0] product;
            assign p = product[35:36-BITS];
            ecp5_mul mul (
                .clk(clk),
                .a(left),
                .b(right),
                .p(product)
            );
`elsif TAPEOUT_ICE40
            ice40_mul #(
                .A_BITS(A_BITS),
                .B_BITS(B_BITS)
            ) mul (
                .clk(clk),
                .a(a),
                .b(b),
                .p(p)
            );
`else
            reg signed [A_BITS-1:0] left;
            reg signed [B_BITS-1:0] right;
            reg signed [BITS-1:0] product, last;
            always @(posedge clk) begin
                left <= a;
                right <= b;
                product <= left * right;
                last <= product;
            end
            assign p = last;
`endif
        end
    endgenerate
endmodule

`ifdef TAPEOUT_ECP5
// MULT18X18D, with a register at both inputs, in the middle and at the output.
module ecp5_mul (
    input clk,
    input [17:0] a,
    input [17:0] b,
    output [35:0] p
);
    MULT18X18D #(
        .REG_INPUTA_CLK("CLK0"),
        .REG_INPUTB_CLK("CLK0"),
        .REG_PIPELINE_CLK("CLK0"),
        .REG_OUTPUT_CLK("CLK0"),
        .GSR("DISABLED")
    ) block (
        .CLK0(clk), .CLK1(1'b0), .CLK2(1'b0), .CLK3(1'b0),
        .CE0(1'b1), .CE1(1'b1), .CE2(1'b1), .CE3(1'b1),
        .RST0(1'b0), .RST1(1'b0), .RST2(1'b0), .RST3(1'b0),
        .SIGNEDA(1'b1), .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0),
        .A0(a[0]), .A1(a[1]), .A2(a[2]), .A3(a[3]), .A4(a[4]), .A5(a[5]),
        .A6(a[6]), .A7(a[7]), .A8(a[8]), .A9(a[9]), .A10(a[10]), .A11(a[11]),
        .A12(a[12]), .A13(a[13]), .A14(a[14]), .A15(a[15]), .A16(a[16]), .A17(a[17]),
        .B0(b[0]), .B1(b[1]), .B2(b[2]), .B3(b[3]), .B4(b[4]), .B5(b[5]),
        .B6(b[6]), .B7(b[7]), .B8(b[8]), .B9(b[9]), .B10(b[10]), .B11(b[11]),
        .B12(b[12]), .B13(b[13]), .B14(b[14]), .B15(b[15]), .B16(b[16]), .B17(b[17]),
        .P0(p[0]), .P1(p[1]), .P2(p[2]), .P3(p[3]), .P4(p[4]), .P5(p[5]),
        .P6(p[6]), .P7(p[7]), .P8(p[8]), .P9(p[9]), .P10(p[10]), .P11(p[11]),
        .P12(p[12]), .P13(p[13]), .P14(p[14]), .P15(p[15]), .P16(p[16]), .P17(p[17]),
        .P18(p[18]), .P19(p[19]), .P20(p[20]), .P21(p[21]), .P22(p[22]), .P23(p[23]),
        .P24(p[24]), .P25(p[25]), .P26(p[26]), .P27(p[27]), .P28(p[28]), .P29(p[29]),
        .P30(p[30]), .P31(p[31]), .P32(p[32]), .P33(p[33]), .P34(p[34]), .P35(p[35])
    );
endmodule
`endif

`ifdef TAPEOUT_ICE40
// SB_MAC16 multiplies 16 bits by 16. What a number has beyond them, two bits at the lower end, is
// multiplied in logic meanwhile: with a = 4 u + i and b = 4 v + j,
// a b = 16 u v + (a j + 4 v i).
module ice40_mul #(
    parameter A_BITS = 18,
    parameter B_BITS = 18
) (
    input clk,
    input signed [A_BITS-1:0] a,
    input signed [B_BITS-1:0] b,
    output signed [A_BITS+B_BITS-1:0] p
);
    localparam WIDE = A_BITS > 16 || B_BITS > 16;

    wire signed [17:0] left = a;
    wire signed [17:0] right = b;
    wire signed [15:0] u = WIDE ? left[17:2] : left[15:0];
    wire signed [15:0] v = WIDE ? right[17:2] : right[15:0];
    wire signed [31:0] product;

    SB_MAC16 #(
        .A_REG(1'b1),
        .B_REG(1'b1),
        .TOP_8x8_MULT_REG(1'b1),
        .BOT_8x8_MULT_REG(1'b1),
        .PIPELINE_16x16_MULT_REG1(1'b1),
        .PIPELINE_16x16_MULT_REG2(1'b1),
        .TOPOUTPUT_SELECT(2'b11),
        .BOTOUTPUT_SELECT(2'b11),
        .A_SIGNED(1'b1),
        .B_SIGNED(1'b1)
    ) block (
        .CLK(clk), .CE(1'b1), .A(u), .B(v), .C(16'd0), .D(16'd0), .O(product),
        .AHOLD(1'b0), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0),
        .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0),
        .OLOADTOP(1'b0), .OLOADBOT(1'b0), .OHOLDTOP(1'b0), .OHOLDBOT(1'b0),
        .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0),
        .CO(), .ACCUMCO(), .SIGNEXTOUT()
    );

    generate
        if (WIDE) begin : wide
            wire signed [19:0] a1 = right[0] ? left : 0;
            wire signed [19:0] a2 = right[1] ? left : 0;
            wire signed [17:0] v1 = left[0] ? v : 0;
            wire signed [17:0] v2 = left[1] ? v : 0;
            reg signed [19:0] aj;
            reg signed [17:0] vi;
            reg signed [20:0] rest, last;
            wire signed [35:0] sum = {product, 4'b0} + {{15{last[20]}}, last};
            always @(posedge clk) begin
                aj <= a1 + (a2 <<< 1);
                vi <= v1 + (v2 <<< 1);
                rest <= aj + (vi <<< 2);
                last <= rest;
            end
            assign p = sum[A_BITS+B_BITS-1:0];
        end else begin : narrow
            assign p = product[A_BITS+B_BITS-1:0];
        end
    endgenerate
endmodule
`endif
