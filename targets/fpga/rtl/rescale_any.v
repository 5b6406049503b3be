// Groups of integer sums become int8 as in rescale.v, by constants that come from outside: for
// layers that take turns.
//
// PE: sums in a group; RQ divides it. BITS: of a sum.
// GROUPS: groups after which the channels begin again.
// SHIFT: the least shift, 1 or more. MORE_BITS: of `more`, 1..5.
// SCALE ..: the ROM (see rom.v) of GROUPS * PE / RQ words: for each lane, the lowest bits the
//     first's, 17 bits of multiplier and above them MORE_BITS of `more`.
//
// ahead (`BEFORE`), zero, low, high: see requantize.v; they stay while a sum that they are for is inside.
//
// Timing: groups come PE / RQ cycles apart at least. The RQ results of turn k, from 0, of a group of
// cycle n (s_valid) are there, with m_valid, in cycle n + 13 + k.
module rescale_any #(
    parameter PE = 1,
    parameter RQ = 1,
    parameter BITS = 24,
    parameter GROUPS = 1,
    parameter SHIFT = 16,
    parameter MORE_BITS = 1,
    parameter SCALE = "",
    parameter SCALE_WIDTH = 0,
    parameter SCALE_DEPTH = 0
) (
    input clk,
    input rst,
    input [3:0] ahead,
    input signed [7:0] zero,
    input signed [7:0] low,
    input signed [7:0] high,
    input s_valid,
    input [PE*BITS-1:0] s_data,
    output m_valid,
    output [RQ*8-1:0] m_data
);
    localparam TURNS = PE / RQ;
    localparam WORDS = GROUPS * TURNS;
    localparam LANE_BITS = 17 + MORE_BITS;
    localparam ADDRESS_BITS = WORDS > 1 ? $clog2(WORDS) : 1;

    // The group is held, and moves on by RQ sums a cycle.
    reg [PE*BITS-1:0] held;
    reg turning;  // there are sums in the lowest places of `held`
    wire last_turn;
    counter #(.COUNT(TURNS)) turns (.clk(clk), .rst(rst), .step(turning), .last(last_turn));
    reg [ADDRESS_BITS-1:0] address;  // one cycle behind
    reg turned;
    always @(posedge clk) begin
        held <= s_valid ? s_data : held >> (RQ * BITS);
        turning <= s_valid || (turning && !last_turn);
        turned <= turning;
        if (turned) address <= address == WORDS - 1 ? 0 : address + 1;
        if (rst) begin
            turning <= 0;
            turned <= 0;
            address <= 0;
        end
    end
    delay #(.WIDTH(1), .CYCLES(12)) way (.clk(clk), .rst(rst), .in(turning), .out(m_valid));

    wire [RQ*LANE_BITS-1:0] scales;
    rom #(
        .WIDTH(RQ * LANE_BITS),
        .DEPTH(WORDS),
        .FILE(SCALE),
        .SLICE_WIDTH(SCALE_WIDTH),
        .SLICE_DEPTH(SCALE_DEPTH)
    ) scale (
        .clk(clk),
        .address(address),
        .data(scales)
    );

    genvar lane;
    generate
        for (lane = 0; lane < RQ; lane = lane + 1) begin : lanes
            requantize_any #(
                .BITS(BITS),
                .SHIFT(SHIFT),
                .MORE_BITS(MORE_BITS)
            ) requantize (
                .clk(clk),
                .ahead(ahead),
                .zero(zero),
                .low(low),
                .high(high),
                .sum(held[lane*BITS+:BITS]),
                .multiplier(scales[lane*LANE_BITS+:17]),
                .more(scales[lane*LANE_BITS+17+:MORE_BITS]),
                .y(m_data[lane*8+:8])
            );
        end
    endgenerate
endmodule
