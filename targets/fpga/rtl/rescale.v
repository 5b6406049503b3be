// Groups of integer sums become groups of int8, by few multipliers: PE sums come at once, and are
// worked off by RQ lanes (see requantize.v) in PE / RQ cycles.
//
// PE: sums in a group; RQ divides it. BITS: of a sum.
// GROUPS: groups after which the channels begin again.
// BEFORE, SHIFT, MORE_BITS, ZERO, LOW, HIGH: see requantize.v.
// SCALE, SCALE_WIDTH, SCALE_DEPTH: the ROM (see rom.v) of GROUPS * PE / RQ words: for each lane,
//     the lowest bits the first's, 17 bits of multiplier and above them MORE_BITS of `more`.
//
// Timing: groups come PE / RQ cycles apart at least. One of cycle n (s_valid) is out (m_valid, for
// one cycle) in cycle n + 11 + PE / RQ.
module rescale #(
    parameter PE = 1,
    parameter RQ = 1,
    parameter BITS = 24,
    parameter GROUPS = 1,
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
    input [PE*BITS-1:0] s_data,
    output reg m_valid,
    output reg [PE*8-1:0] m_data
);
    localparam TURNS = PE / RQ;
    localparam WORDS = GROUPS * TURNS;
    localparam LANE_BITS = 17 + MORE_BITS;
    localparam ADDRESS_BITS = WORDS > 1 ? $clog2(WORDS) : 1;

    // The group is held, and moves on by RQ sums a cycle; its first turn is one cycle after it
    // came, in which its first multipliers' address was there.
    reg [PE*BITS-1:0] held;
    reg [ADDRESS_BITS-1:0] address;
    wire more_turns;
    wire turn = s_valid || more_turns;
    wire end_group;
    counter #(.COUNT(TURNS)) turns (.clk(clk), .rst(rst), .step(turn), .last(end_group));
    generate
        if (TURNS == 1) begin : at_once
            assign more_turns = 1'b0;
        end else begin : in_turns
            reg busy;
            assign more_turns = busy;
            always @(posedge clk) begin
                if (turn) busy <= !end_group;
                if (rst) busy <= 0;
            end
        end
    endgenerate
    always @(posedge clk) begin
        held <= s_valid ? s_data : held >> (RQ * BITS);
        if (turn) address <= address == WORDS - 1 ? 0 : address + 1;
        if (rst) address <= 0;
    end

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

    wire [RQ*8-1:0] results;
    genvar lane;
    generate
        for (lane = 0; lane < RQ; lane = lane + 1) begin : lanes
            wire [LANE_BITS-1:0] own = scales[lane*LANE_BITS+:LANE_BITS];
            requantize #(
                .BITS(BITS),
                .BEFORE(BEFORE),
                .SHIFT(SHIFT),
                .MORE_BITS(MORE_BITS),
                .ZERO(ZERO),
                .LOW(LOW),
                .HIGH(HIGH)
            ) requantize (
                .clk(clk),
                .sum(held[lane*BITS+:BITS]),
                .multiplier(own[16:0]),
                .more(own >> 17),
                .y(results[lane*8+:8])
            );
        end

        if (TURNS == 1) begin : whole
            always @(posedge clk) m_data <= results;
        end else begin : pieces
            always @(posedge clk) m_data <= {results, m_data[PE*8-1:RQ*8]};
        end
    endgenerate

    // The end of a group, beside its way through the lanes.
    reg [10:0] ends;
    always @(posedge clk) begin
        ends <= {ends[9:0], turn && end_group};
        m_valid <= ends[10];
        if (rst) begin
            ends <= 0;
            m_valid <= 0;
        end
    end
endmodule
