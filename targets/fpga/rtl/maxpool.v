// The largest number of each channel in a window; what lies outside the image counts as PAD.
//
// PE: channels in a beat, in and out, and compared side by side; divides the channels.
// HEIGHT .. SLOTS: see window.v; GROUPS: channels / PE, REPEATS and WORDS: 1, PAD: -128.
//
// Timing: see window.v and fifo.v. A run whose last read is in cycle n enters the queue of SLOTS
// beats at the end in cycle n + 4, and frees its slot when taken.
module maxpool #(
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
    parameter SLOTS = 4
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

    wire [PE*8-1:0] largest;
    genvar lane;
    generate
        for (lane = 0; lane < PE; lane = lane + 1) begin : lanes
            wire signed [7:0] number = x[lane*8+:8];
            reg signed [7:0] most;
            always @(posedge clk) if (x_valid && (x_first || number > most)) most <= number;
            assign largest[lane*8+:8] = most;
        end
    endgenerate
    reg done;
    always @(posedge clk) done <= x_valid && x_last && !rst;

    fifo #(
        .WIDTH(PE * 8),
        .DEPTH(SLOTS)
    ) results (
        .clk(clk),
        .rst(rst),
        .s_valid(done),
        .s_ready(),
        .s_data(largest),
        .m_valid(m_valid),
        .m_ready(m_ready),
        .m_data(m_data)
    );
endmodule
