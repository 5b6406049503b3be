// add: clamp(((s0 x FIRST + s1 x SECOND + BIAS + 2^(SHIFT - 1)) >> SHIFT) + ZERO, LOW, HIGH),
// element by element, with one multiplier for each input and lane.
//
//   PE             elements in a beat
//   FIRST, SECOND  multipliers, 18 bits with sign
//   BIAS           an integer of 32 bits
//   SHIFT, ZERO, LOW, HIGH  see above; SHIFT at least 1
//   BITS           of the sum of all that is added up, with ZERO << SHIFT, more than SHIFT
//
// Timing, in cycles: a beat that is accepted in n can be used from n + 1 on. A pair is used as soon
// as both its beats are there, one pair in a cycle, and fewer than 16 pairs are on their way, which
// they are from the cycle after their use through that in which their sum is taken. The next beat
// of either input is accepted no earlier than the cycle in which the one before is used. A pair
// used in n is offered in n + 8 or, if later, in the cycle after the one before it was taken.
module add #(
    parameter PE = 1,
    parameter FIRST = 1,
    parameter SECOND = 1,
    parameter BIAS = 0,
    parameter SHIFT = 1,
    parameter ZERO = 0,
    parameter LOW = -128,
    parameter HIGH = 127,
    parameter BITS = 28
) (
    input clk,
    input rst,
    input s0_valid,
    output s0_ready,
    input [PE*8-1:0] s0_data,
    input s1_valid,
    output s1_ready,
    input [PE*8-1:0] s1_data,
    output m_valid,
    input m_ready,
    output [PE*8-1:0] m_data
);

    localparam PLACES = 16;
    localparam DELAY = 6;  // cycles from the use of a pair to its sum

    // What is added to the products, rounding and zero point included.
    localparam signed [63:0] ONE = 1;
    localparam signed [63:0] WHOLE = BIAS + (ONE <<< (SHIFT - 1)) + ZERO * (ONE <<< SHIFT);
    localparam signed [BITS-1:0] OFFSET = WHOLE;

    // One beat of each input.
    reg held0, held1;
    reg [PE*8-1:0] data0, data1;
    wire free;
    wire go = held0 && held1 && free;

    assign s0_ready = !held0 || go;
    assign s1_ready = !held1 || go;

    always @(posedge clk) begin
        if (s0_ready) data0 <= s0_data;
        if (s1_ready) data1 <= s1_data;
        if (rst) {held0, held1} <= 2'b00;
        else begin
            if (s0_ready) held0 <= s0_valid;
            if (s1_ready) held1 <= s1_valid;
        end
    end

    credit #(
        .PLACES(PLACES)
    ) slots (
        .clk(clk),
        .rst(rst),
        .take(go),
        .give(m_valid && m_ready),
        .free(free)
    );

    reg [DELAY-1:0] moving;
    always @(posedge clk) moving <= rst ? {DELAY{1'b0}} : {moving[DELAY-2:0], go};

    wire [PE*8-1:0] sums;

    genvar lane;
    generate
        for (lane = 0; lane < PE; lane = lane + 1) begin : lanes
            localparam signed [17:0] LEFT = FIRST;
            localparam signed [17:0] RIGHT = SECOND;

            wire signed [25:0] left, right;
            mul #(
                .A_BITS(8),
                .B_BITS(18)
            ) first (
                .clk(clk),
                .a(data0[lane*8+:8]),
                .b(LEFT),
                .p(left)
            );
            mul #(
                .A_BITS(8),
                .B_BITS(18)
            ) second (
                .clk(clk),
                .a(data1[lane*8+:8]),
                .b(RIGHT),
                .p(right)
            );

            reg signed [26:0] products;
            reg signed [BITS-1:0] total;
            reg [7:0] sum;
            wire signed [BITS-SHIFT-1:0] rounded = total[BITS-1:SHIFT];
            always @(posedge clk) begin
                products <= left + right;
                total <= products + OFFSET;
                sum <= rounded < LOW ? LOW : rounded > HIGH ? HIGH : rounded;
            end
            assign sums[lane*8+:8] = sum;
        end
    endgenerate

    fifo #(
        .WIDTH(PE * 8),
        .DEPTH(PLACES)
    ) queue (
        .clk(clk),
        .rst(rst),
        .s_valid(moving[DELAY-1]),
        .s_ready(),
        .s_data(sums),
        .m_valid(m_valid),
        .m_ready(m_ready),
        .m_data(m_data)
    );

endmodule
