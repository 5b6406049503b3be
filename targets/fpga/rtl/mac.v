// Sums of products: PE channels side by side, SIMD products of each a cycle.
//
// SHARED: 1: all channels multiply the same SIMD numbers; 0: each has SIMD of its own.
// WEIGHT_BITS: of a weight, in two's complement, at most 8; up to 2 take no multiplier.
// SUM_BITS: of a sum with its bias, in two's complement.
// RUNS: runs after which the biases begin again.
// BIASES ..: the ROM (see rom.v) of the biases: one word of PE for each run.
//
// Timing: `valid`, `first` and `last` (of a run) come with the numbers, the weights one cycle later.
// The last numbers of a run, of cycle n, give `sums` with `done` in cycle n + 7 + $clog2(SIMD).
module mac #(
    parameter PE = 1,
    parameter SIMD = 1,
    parameter SHARED = 1,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter RUNS = 1,
    parameter BIASES = "",
    parameter BIASES_WIDTH = 0,
    parameter BIASES_DEPTH = 0,
    parameter NUMBERS = SHARED ? SIMD : PE * SIMD
) (
    input clk,
    input rst,
    input valid,
    input first,
    input last,
    input [NUMBERS*8-1:0] x,
    input [PE*SIMD*WEIGHT_BITS-1:0] w,
    output reg done,
    output [PE*SUM_BITS-1:0] sums
);
    localparam LEVELS = $clog2(SIMD);
    localparam PRODUCT_BITS = 8 + WEIGHT_BITS;
    localparam RUN_BITS = RUNS > 1 ? $clog2(RUNS) : 1;

    // ---- Each few channels have copies of shared numbers: multipliers stand far apart.
    localparam NEAR = SHARED ? 4 : PE;
    localparam COPIES = (PE + NEAR - 1) / NEAR;
    wire [COPIES*NUMBERS*8-1:0] near;
    copies #(.WIDTH(NUMBERS * 8), .COPIES(COPIES)) spread (.clk(clk), .in(x), .out(near));

    // ---- What is known of the numbers, for as long as they take to the first sum: one cycle in the
    // copies, three in the multipliers, two behind them, LEVELS in the adder tree. The bias is addressed
    // three cycles before.
    wire y_valid, y_first, y_last;
    delay #(.WIDTH(3), .CYCLES(LEVELS + 3)) early (
        .clk(clk), .rst(rst), .in({valid, first, last}), .out({y_valid, y_first, y_last})
    );
    wire s_is, s_first, s_last;
    delay #(.WIDTH(3), .CYCLES(3)) late (
        .clk(clk), .rst(rst), .in({y_valid, y_first, y_last}), .out({s_is, s_first, s_last})
    );

    reg [RUN_BITS-1:0] run;
    always @(posedge clk) begin
        if (y_valid && y_last) run <= run == RUNS - 1 ? 0 : run + 1;
        if (rst) run <= 0;
    end
    wire [PE*SUM_BITS-1:0] bias;
    rom #(
        .WIDTH(PE * SUM_BITS),
        .DEPTH(RUNS),
        .FILE(BIASES),
        .SLICE_WIDTH(BIASES_WIDTH),
        .SLICE_DEPTH(BIASES_DEPTH)
    ) biases (
        .clk(clk),
        .address(run),
        .data(bias)
    );

    // ---- Products, in two registers on their way to the adders: multipliers stand in rows as wide as
    // the device. Their sums, and the sums of these.
    genvar pe, lane;
    generate
        for (pe = 0; pe < PE; pe = pe + 1) begin : channels
            localparam OWN = SHARED ? pe / NEAR * SIMD : pe * SIMD;
            wire [SIMD*PRODUCT_BITS-1:0] products;
            reg [SIMD*PRODUCT_BITS-1:0] halfway, near_adders;
            always @(posedge clk) begin
                halfway <= products;
                near_adders <= halfway;
            end
            for (lane = 0; lane < SIMD; lane = lane + 1) begin : lanes
                mul #(
                    .A_BITS(8),
                    .B_BITS(WEIGHT_BITS),
                    .STYLE(WEIGHT_BITS > 2 ? "block" : "logic")
                ) mul (
                    .clk(clk),
                    .a(near[(OWN+lane)*8+:8]),
                    .b(w[(pe*SIMD+lane)*WEIGHT_BITS+:WEIGHT_BITS]),
                    .p(products[lane*PRODUCT_BITS+:PRODUCT_BITS])
                );
            end
            wire signed [PRODUCT_BITS+LEVELS-1:0] partial;
            tree #(
                .N(SIMD),
                .BITS(PRODUCT_BITS)
            ) tree (
                .clk(clk),
                .numbers(near_adders),
                .sum(partial)
            );
            wire signed [SUM_BITS-1:0] start = bias[pe*SUM_BITS+:SUM_BITS];
            reg signed [SUM_BITS-1:0] sum;
            always @(posedge clk) if (s_is) sum <= (s_first ? start : sum) + partial;
            assign sums[pe*SUM_BITS+:SUM_BITS] = sum;
        end
    endgenerate
    always @(posedge clk) done <= s_is && s_last && !rst;
endmodule
