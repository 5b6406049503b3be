// global_average: the requantized sum of every channel over a whole image, plus a bias.
//
//   PE      channels in a beat
//   BEATS   in a pixel
//   PIXELS  of the image
//   BITS    of a sum
//   BIAS    that each sum begins with
//   MULTIPLIER, BEFORE, SHIFT, ZERO, LOW, HIGH  as in requantize.v
//   SLICE_WIDTH  of the memory of the sums: see ram.v
//
// Timing, in cycles: beats of all pixels but the last are accepted at once; those of the last while
// fewer than 16 of them are on their way, which they are from the cycle after they are accepted
// through that in which their result is taken. One that is accepted in n is offered in n + 15 or,
// if later, in the cycle after the one before it was taken.
module global_average #(
    parameter PE = 1,
    parameter BEATS = 4,
    parameter PIXELS = 4,
    parameter BITS = 16,
    parameter BIAS = 0,
    parameter MULTIPLIER = 1,
    parameter BEFORE = 0,
    parameter SHIFT = 1,
    parameter ZERO = 0,
    parameter LOW = -128,
    parameter HIGH = 127,
    parameter SLICE_WIDTH = 0
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

    localparam PLACES = 16;
    localparam DELAY = 13;  // cycles from the last pixel's beat to its result

    // ---- Where in the image the next beat is.
    wire last_beat, last_pixel, free;
    reg first_pixel;
    wire accept = s_valid && s_ready;
    wire finish = accept && last_pixel;
    wire end_pixel = accept && last_beat;

    assign s_ready = !last_pixel || free;

    counter #(.COUNT(BEATS)) beat (.clk(clk), .rst(rst), .step(accept), .last(last_beat));
    counter #(.COUNT(PIXELS)) pixel (.clk(clk), .rst(rst), .step(end_pixel), .last(last_pixel));

    always @(posedge clk)
        if (rst) first_pixel <= 1'b1;
        else if (end_pixel) first_pixel <= last_pixel;

    credit #(
        .PLACES(PLACES)
    ) slots (
        .clk(clk),
        .rst(rst),
        .take(finish),
        .give(m_valid && m_ready),
        .free(free)
    );

    // ---- The beat, beside the sum so far: both are there two cycles later.
    reg [1:0] valids, firsts;
    reg [PE*8-1:0] data, data_beside;
    wire [PE*BITS-1:0] earlier;
    reg [PE*BITS-1:0] sums;

    always @(posedge clk) begin
        valids <= rst ? 2'b00 : {valids[0], accept};
        firsts <= {firsts[0], first_pixel};
        data <= s_data;
        data_beside <= data;
    end

    genvar lane;
    generate
        for (lane = 0; lane < PE; lane = lane + 1) begin : adders
            localparam signed [BITS-1:0] START = BIAS;
            wire signed [BITS-1:0] old = firsts[1] ? START : earlier[lane*BITS+:BITS];
            wire signed [7:0] more = data_beside[lane*8+:8];
            always @(posedge clk) if (valids[1]) sums[lane*BITS+:BITS] <= old + more;
        end

        // The sums of a pixel come round every BEATS beats. A memory has them back after four
        // cycles; fewer of them move through registers.
        if (BEATS == 1) begin : own
            assign earlier = sums;
        end else if (BEATS < 4) begin : registers
            reg [(BEATS-1)*PE*BITS-1:0] older;
            assign earlier = older[(BEATS-1)*PE*BITS-1-:PE*BITS];
            always @(posedge clk) if (valids[1]) older <= {older, sums};
        end else begin : memory
            localparam ADDRESS_BITS = $clog2(BEATS);
            reg [ADDRESS_BITS-1:0] address, address1, address2, address3;
            reg write;
            always @(posedge clk) begin
                if (rst) address <= 0;
                else if (accept) address <= last_beat ? 0 : address + 1'b1;
                address1 <= address;
                address2 <= address1;
                address3 <= address2;
                write <= valids[1];
            end
            ram #(
                .WIDTH(PE * BITS),
                .DEPTH(BEATS),
                .SLICE_WIDTH(SLICE_WIDTH)
            ) words (
                .clk(clk),
                .write(write),
                .write_address(address3),
                .write_data(sums),
                .read_address(address),
                .read_data(earlier)
            );
        end
    endgenerate

    // ---- The results.
    reg [DELAY-1:0] moving;
    wire [PE*8-1:0] results;
    wire [16:0] multiplier = MULTIPLIER;

    always @(posedge clk) moving <= rst ? {DELAY{1'b0}} : {moving[DELAY-2:0], finish};

    generate
        for (lane = 0; lane < PE; lane = lane + 1) begin : lanes
            requantize #(
                .BITS(BITS),
                .BEFORE(BEFORE),
                .SHIFT(SHIFT),
                .ZERO(ZERO),
                .LOW(LOW),
                .HIGH(HIGH)
            ) scale (
                .clk(clk),
                .sum(sums[lane*BITS+:BITS]),
                .multiplier(multiplier),
                .more(3'd0),
                .y(results[lane*8+:8])
            );
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
        .s_data(results),
        .m_valid(m_valid),
        .m_ready(m_ready),
        .m_data(m_data)
    );

endmodule
