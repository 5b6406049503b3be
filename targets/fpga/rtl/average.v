// The requantized sum of each channel in a window, plus a bias.
//
// PE: channels in a beat, in and out, and added up side by side; divides the channels.
// HEIGHT .. SLOTS: see window.v; GROUPS: channels / PE, REPEATS and WORDS: 1, PAD: the input's zero
//     point.
// SUM_BITS: of a sum with its bias, in two's complement.
// BIAS: that each sum begins with.
// RQ .. SCALE_DEPTH: see rescale.v; all channels have one scale: the ROM holds one group's.
//
// Timing: see window.v and fifo.v. A run whose last read is in cycle n enters the queue of SLOTS
// beats at the end in cycle n + 15 + PE / RQ, and frees its slot when taken.
module average #(
    parameter PE = 1,
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
    parameter SUM_BITS = 16,
    parameter BIAS = 0,
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
    input [PE*8-1:0] s_data,
    output m_valid,
    input m_ready,
    output [PE*8-1:0] m_data
);
    wire x_valid, x_first, x_last;
    wire [PE*8-1:0] x;
    window #(
        .LANES(PE),
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
        .step(),
        .m_valid(x_valid),
        .m_first(x_first),
        .m_last(x_last),
        .m_data(x)
    );

    wire [PE*SUM_BITS-1:0] sums;
    genvar lane;
    generate
        for (lane = 0; lane < PE; lane = lane + 1) begin : lanes
            localparam signed [SUM_BITS-1:0] START = BIAS;
            wire signed [7:0] number = x[lane*8+:8];
            reg signed [SUM_BITS-1:0] sum;
            always @(posedge clk) if (x_valid) sum <= (x_first ? START : sum) + number;
            assign sums[lane*SUM_BITS+:SUM_BITS] = sum;
        end
    endgenerate
    reg done;
    always @(posedge clk) done <= x_valid && x_last && !rst;

    wire r_valid;
    wire [PE*8-1:0] r;
    rescale #(
        .PE(PE),
        .RQ(RQ),
        .BITS(SUM_BITS),
        .GROUPS(1),
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
