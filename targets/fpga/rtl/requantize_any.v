// As requantize.v, with all constants from outside; `ahead` (BEFORE), `zero`, `low` and `high` stay while
// a sum that they are for is inside.
//
// BITS: of the sum. SHIFT: the least shift, 1 or more. MORE_BITS: of `more`, 1..5.
//
// A shift by n that rounds halves up is one by n - 1, one added, and one by 1; a number doubled
// first has such a shift by 0, too. So no constant as wide as the sum is needed.
//
// Timing: the sum of cycle n gives y in cycle n + 12; its multiplier and `more` are to be there in
// cycle n + 4. No stalls.
module requantize_any #(
    parameter BITS = 24,
    parameter SHIFT = 16,
    parameter MORE_BITS = 1
) (
    input clk,
    input [3:0] ahead,
    input signed [7:0] zero,
    input signed [7:0] low,
    input signed [7:0] high,
    input signed [BITS-1:0] sum,
    input [16:0] multiplier,
    input [MORE_BITS-1:0] more,
    output reg signed [7:0] y
);
    localparam T_BITS = BITS + 2 > 19 ? BITS + 2 : 19;
    localparam Q_BITS = SHIFT < 36 ? 37 - SHIFT : 1;  // of the product in halves of y's unit
    localparam Y_BITS = (Q_BITS > 10 ? Q_BITS : 10) + 2;

    wire signed [T_BITS-1:0] doubled = sum <<< 1;
    reg signed [T_BITS-1:0] coarse, fine, scaled;
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

    wire signed [Q_BITS-1:0] halves = SHIFT < 36 ? product >>> (SHIFT - 1) : product >>> 35;
    wire [MORE_BITS-1:0] by;
    delay #(.WIDTH(MORE_BITS), .CYCLES(4)) more_time (
        .clk(clk), .rst(1'b0), .in(more), .out(by)
    );
    wire [4:0] by_all = by;
    reg [1:0] by_fine;
    wire signed [9:0] lift = {{zero[7], zero}, 1'b1};  // 2 zero + 1
    reg signed [Q_BITS-1:0] unshifted, shifted, settled;  // a register behind the multiplier, first
    reg signed [Y_BITS-1:0] moved;
    always @(posedge clk) begin
        coarse <= doubled >>> {ahead[3:2], 2'b00};
        fine <= coarse >>> ahead[1:0];
        scaled <= (fine + 1) >>> 1;
        t <= scaled > 131071 ? 131071 : scaled < -131072 ? -131072 : scaled;
        unshifted <= halves;
        shifted <= unshifted >>> {by_all[4:2], 2'b00};
        by_fine <= by_all[1:0];
        settled <= shifted >>> by_fine;
        moved <= (settled + lift) >>> 1;
        y <= moved > high ? high : moved < low ? low : moved;
    end
endmodule
