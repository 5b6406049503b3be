// A convolution, dense or grouped; a matrix product is one of 1 x 1 over an image of 1 x 1.
//
// Beats in: SIMD channels; beats out: PE channels. PE * SIMD multipliers add up SIMD products for
// each of PE channels a cycle.
//
// SIMD: divides the channels in of one group. PE: divides the channels out of one group.
// GROUPS .. SLOTS: see window.v; REPEATS: channels out of one group / PE, WORDS: channels in of one
//     group / SIMD, PAD: the input's zero point.
// WEIGHT_BITS: of a weight, in two's complement, at most 8; up to 2 take no multiplier.
// SUM_BITS: of a sum with its bias, in two's complement.
// WEIGHTS, .._WIDTH, .._DEPTH: the ROM (see rom.v) of the weights: words in the order in which
//     window.v reads for one pixel; the weight of channel out p and channel in s of a word is number
//     p * SIMD + s.
// BIASES ..: the ROM of the biases: for each group of PE channels one word.
// RQ .. SCALE_DEPTH: see rescale.v.
//
// Timing: see window.v and fifo.v. A run whose last read is in cycle n enters the queue of SLOTS
// beats at the end in cycle n + 21 + $clog2(SIMD) + PE / RQ, and frees its slot when taken.
module conv #(
    parameter PE = 1,
    parameter SIMD = 1,
    parameter HEIGHT = 4,
    parameter WIDTH = 4,
    parameter GROUPS = 1,
    parameter REPEATS = 1,
    parameter WORDS = 1,
    parameter KERNEL_HEIGHT = 3,
    parameter KERNEL_WIDTH = 3,
    parameter STRIDE_Y = 1,
    parameter STRIDE_X = 1,
    parameter DILATION_Y = 1,
    parameter DILATION_X = 1,
    parameter PAD_TOP = 1,
    parameter PAD_LEFT = 1,
    parameter OUT_HEIGHT = 4,
    parameter OUT_WIDTH = 4,
    parameter PAD = 0,
    parameter DEPTH = 16,
    parameter SLICE_WIDTH = 0,
    parameter SLOTS = 4,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter WEIGHTS = "",
    parameter WEIGHTS_WIDTH = 0,
    parameter WEIGHTS_DEPTH = 0,
    parameter BIASES = "",
    parameter BIASES_WIDTH = 0,
    parameter BIASES_DEPTH = 0,
    parameter RQ = 1,
    parameter BEFORE = 0,
    parameter SHIFT = 16,
    parameter MORE_BITS = 0,
    parameter ZERO = 0,
    parameter LOW = -128,
    parameter HIGH = 127,
    parameter SCALE = "",
    parameter SCALE_WIDTH = 0,
    parameter SCALE_DEPTH = 0
) (
    input clk,
    input rst,
    input s_valid,
    output s_ready,
    input [SIMD*8-1:0] s_data,
    output m_valid,
    input m_ready,
    output [PE*8-1:0] m_data
);
    localparam RUNS = GROUPS * REPEATS;
    localparam STEPS = RUNS * KERNEL_HEIGHT * KERNEL_WIDTH * WORDS;
    localparam STEP_BITS = STEPS > 1 ? $clog2(STEPS) : 1;

    // ---- Pixels and weights, three cycles after their addresses.
    wire step, x_valid, x_first, x_last;
    wire [SIMD*8-1:0] x;
    window #(
        .LANES(SIMD),
        .HEIGHT(HEIGHT),
        .WIDTH(WIDTH),
        .GROUPS(GROUPS),
        .REPEATS(REPEATS),
        .WORDS(WORDS),
        .KERNEL_HEIGHT(KERNEL_HEIGHT),
        .KERNEL_WIDTH(KERNEL_WIDTH),
        .STRIDE_Y(STRIDE_Y),
        .STRIDE_X(STRIDE_X),
        .DILATION_Y(DILATION_Y),
        .DILATION_X(DILATION_X),
        .PAD_TOP(PAD_TOP),
        .PAD_LEFT(PAD_LEFT),
        .OUT_HEIGHT(OUT_HEIGHT),
        .OUT_WIDTH(OUT_WIDTH),
        .PAD(PAD),
        .DEPTH(DEPTH),
        .SLICE_WIDTH(SLICE_WIDTH),
        .SLOTS(SLOTS)
    ) window (
        .clk(clk),
        .rst(rst),
        .s_valid(s_valid),
        .s_ready(s_ready),
        .s_data(s_data),
        .taken(m_valid && m_ready),
        .step(step),
        .m_valid(x_valid),
        .m_first(x_first),
        .m_last(x_last),
        .m_data(x)
    );

    // The weights come a cycle after the pixels (see mac.v).
    reg stepped;
    reg [STEP_BITS-1:0] at;
    always @(posedge clk) begin
        stepped <= step && !rst;
        if (stepped) at <= at == STEPS - 1 ? 0 : at + 1;
        if (rst) at <= 0;
    end
    wire [PE*SIMD*WEIGHT_BITS-1:0] w;
    rom #(
        .WIDTH(PE * SIMD * WEIGHT_BITS),
        .DEPTH(STEPS),
        .FILE(WEIGHTS),
        .SLICE_WIDTH(WEIGHTS_WIDTH),
        .SLICE_DEPTH(WEIGHTS_DEPTH)
    ) weights (
        .clk(clk),
        .address(at),
        .data(w)
    );

    // ---- Products, and their sums.
    wire done;
    wire [PE*SUM_BITS-1:0] sums;
    mac #(
        .PE(PE),
        .SIMD(SIMD),
        .WEIGHT_BITS(WEIGHT_BITS),
        .SUM_BITS(SUM_BITS),
        .RUNS(RUNS),
        .BIASES(BIASES),
        .BIASES_WIDTH(BIASES_WIDTH),
        .BIASES_DEPTH(BIASES_DEPTH)
    ) mac (
        .clk(clk),
        .rst(rst),
        .valid(x_valid),
        .first(x_first),
        .last(x_last),
        .x(x),
        .w(w),
        .done(done),
        .sums(sums)
    );

    // ---- Results.
    wire r_valid;
    wire [PE*8-1:0] r;
    rescale #(
        .PE(PE),
        .RQ(RQ),
        .BITS(SUM_BITS),
        .GROUPS(RUNS),
        .BEFORE(BEFORE),
        .SHIFT(SHIFT),
        .MORE_BITS(MORE_BITS),
        .ZERO(ZERO),
        .LOW(LOW),
        .HIGH(HIGH),
        .SCALE(SCALE),
        .SCALE_WIDTH(SCALE_WIDTH),
        .SCALE_DEPTH(SCALE_DEPTH)
    ) rescale (
        .clk(clk),
        .rst(rst),
        .s_valid(done),
        .s_data(sums),
        .m_valid(r_valid),
        .m_data(r)
    );
    fifo #(
        .WIDTH(PE * 8),
        .DEPTH(SLOTS)
    ) results (
        .clk(clk),
        .rst(rst),
        .s_valid(r_valid),
        .s_ready(),
        .s_data(r),
        .m_valid(m_valid),
        .m_ready(m_ready),
        .m_data(m_data)
    );
endmodule
