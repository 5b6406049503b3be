// An integer sum becomes an int8: see `requantize.py` for the rule.
//     t = clamp((sum + 2^(BEFORE-1)) >> BEFORE, -2^17, 2^17 - 1)     (nothing added if BEFORE is 0)
//     y = clamp(((t * multiplier + 2^(s-1)) >> s) + ZERO, LOW, HIGH),  s = SHIFT + more
//
// BITS: of the sum.
// SHIFT: 1 or more. MORE_BITS: of `more`, 0..3.
//
// Timing: the sum of cycle n gives y in cycle n + 10; its multiplier and `more` are to be there in
// cycle n + 2. No stalls.
module requantize #(
    parameter BITS = 24,
    parameter BEFORE = 0,
    parameter SHIFT = 16,
    parameter MORE_BITS = 0,
    parameter ZERO = 0,
    parameter LOW = -128,
    parameter HIGH = 127
) (
    input clk,
    input signed [BITS-1:0] sum,
    input [16:0] multiplier,
    input [2:0] more,
    output reg [7:0] y
);
    localparam T_BITS = (BITS + 1 - BEFORE) > 18 ? BITS + 1 - BEFORE : 18;
    localparam Q_BITS = SHIFT < 36 ? 37 - SHIFT : 1;  // of the product in halves of y's unit
    localparam Y_BITS = (Q_BITS > 9 ? Q_BITS : 9) + 2;
    localparam signed [BITS:0] HALF = BEFORE > 0 ? 1 << (BEFORE > 0 ? BEFORE - 1 : 0) : 0;

    wire signed [BITS:0] rounded = sum + HALF;
    reg signed [T_BITS-1:0] scaled;
    reg signed [17:0] t;
    wire signed [35:0] product;
    mul #(
        .A_BITS(18),
        .B_BITS(18)
    ) mul (
        .clk(clk),
        .a(t),
        .b({1'b0, multiplier}),
        .p(product)
    );

    // ((p + 2^(s-1)) >> s) + z = ((p >> (s-1)) + 1 + 2 z) >> 1
    wire signed [Q_BITS-1:0] halves = SHIFT < 36 ? product >>> (SHIFT - 1) : product >>> 35;
    wire [2:0] by;
    reg by_one;
    reg signed [Q_BITS-1:0] unshifted, coarse, shifted;  // a register behind the multiplier, first
    reg signed [Y_BITS-1:0] moved;
    always @(posedge clk) begin
        scaled <= rounded >>> BEFORE;
        t <= scaled > 131071 ? 131071 : scaled < -131072 ? -131072 : scaled;
        unshifted <= halves;
        coarse <= unshifted >>> {by[2:1], 1'b0};
        by_one <= by[0];
        shifted <= coarse >>> by_one;
        moved <= (shifted + (1 + 2 * ZERO)) >>> 1;
        y <= moved > HIGH ? HIGH : moved < LOW ? LOW : moved;
    end

    generate
        if (MORE_BITS == 0) begin : same
            assign by = 0;
        end else begin : several
            reg [4*MORE_BITS-1:0] waiting;
            always @(posedge clk) waiting <= {waiting, more[MORE_BITS-1:0]};
            assign by = waiting[4*MORE_BITS-1-:MORE_BITS];
        end
    endgenerate
endmodule
