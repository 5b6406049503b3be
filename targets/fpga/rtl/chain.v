// Matrix products one after another by one engine: for each, all PE * SIMD multipliers work on it
// alone, so that a frame takes hardly longer than its products, and a product keeps no engine idle.
//
// Beats in: SIMD numbers, INPUT_WORDS of them a frame; beats out: PE numbers. Between products
// vectors lie in words of SIMD, in one half of a memory while the other half is written. A last word
// that they do not fill up has their last numbers in its highest lanes, and anything in the others.
//
// PE divides SIMD and the numbers out; SIMD divides the numbers in. RQ: see rescale_any.v.
// LAYERS: products. STEP_BITS, GROUP_BITS: of their sizes in PLAN.
// WORDS: of the longest vector between products, a power of two.
// SLICE_WIDTHS: bits of a word in one block RAM, of the frame and of the vectors between; 0: logic.
// STEPS, GROUPS: words of weights, and groups of PE sums, of all products.
// SLOTS: groups that may be on their way out.
// PLAN ..: the ROM (see rom.v) of one word a product, from the lowest bits: words in less one, groups
//     less one, then `ahead` (4 bits), zero, low and high (8 each).
// HEAD: words of weights in the ROM WEIGHTS; the rest is in TAIL. So a few words more than the blocks of
//     one row hold do not make a choice among many rows, for which every wire crosses the device.
// WEIGHTS, TAIL, BIASES, SCALE ..: as in conv.v, of all products in turn; numbers that are none have
//     weights of zero.
//
// Timing. With L = $clog2(SIMD), T = PE / RQ, w words in and g groups of a product: a group's reads
// are in w cycles on end; the next group begins max(w, T) cycles after it began, in the last product
// not before a slot is free (see credit.v); the first group of the next product L + T + 26 cycles
// after the last read of this one; that of the first product, besides, two cycles after its frame's
// last beat came in, and not before cycle 4. s_ready: from the cycle after the first product's last read until the last beat
// of a frame is in. A group whose last read is in cycle n enters the queue at the end (fifo.v) in
// cycle n + 24 + L + T.
module chain #(
    parameter PE = 1,
    parameter SIMD = 1,
    parameter RQ = 1,
    parameter LAYERS = 2,
    parameter INPUT_WORDS = 4,
    parameter WORDS = 4,
    parameter INPUT_SLICE_WIDTH = 0,
    parameter SLICE_WIDTH = 0,
    parameter STEP_BITS = 8,
    parameter GROUP_BITS = 8,
    parameter STEPS = 8,
    parameter GROUPS = 8,
    parameter SLOTS = 8,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter SHIFT = 16,
    parameter MORE_BITS = 1,
    parameter PLAN = "",
    parameter PLAN_WIDTH = 0,
    parameter PLAN_DEPTH = 0,
    parameter WEIGHTS = "",
    parameter WEIGHTS_WIDTH = 0,
    parameter WEIGHTS_DEPTH = 0,
    parameter HEAD = 8,
    parameter TAIL = "",
    parameter TAIL_WIDTH = 0,
    parameter TAIL_DEPTH = 0,
    parameter BIASES = "",
    parameter BIASES_WIDTH = 0,
    parameter BIASES_DEPTH = 0,
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
    localparam TURNS = PE / RQ;
    localparam GAP = $clog2(SIMD) + TURNS + 26;
    localparam INPUT_BITS = INPUT_WORDS > 1 ? $clog2(INPUT_WORDS) : 1;
    localparam WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
    localparam AT_BITS = STEPS > 1 ? $clog2(STEPS) : 1;
    localparam NEAR = 8;  // blocks of weights that share a register of their address
    localparam PLAN_BITS = STEP_BITS + GROUP_BITS + 28;

    // ---- The frame that comes in.
    reg full;
    reg [INPUT_BITS-1:0] input_word;
    wire accept = s_valid && s_ready;
    wire emptied;
    assign s_ready = !full;
    always @(posedge clk) begin
        if (accept) input_word <= input_word == INPUT_WORDS - 1 ? 0 : input_word + 1;
        full <= full ? !emptied : accept && input_word == INPUT_WORDS - 1;
        if (rst) begin
            input_word <= 0;
            full <= 0;
        end
    end

    // ---- Which product, which group of it, which word. What the plan says of a product is read
    // while the one before is on its way through the pipeline, and taken over when it begins.
    wire last_layer;
    wire end_layer;
    wire [PLAN_BITS-1:0] plan;
    reg [$clog2(LAYERS)-1:0] layer;
    counter #(.COUNT(LAYERS)) layers (.clk(clk), .rst(rst), .step(end_layer), .last(last_layer));
    rom #(
        .WIDTH(PLAN_BITS),
        .DEPTH(LAYERS),
        .FILE(PLAN),
        .SLICE_WIDTH(PLAN_WIDTH),
        .SLICE_DEPTH(PLAN_DEPTH)
    ) plans (
        .clk(clk),
        .address(layer),
        .data(plan)
    );

    reg [$clog2(GAP)-1:0] gap;
    reg running, is_first, is_last, side;
    reg [STEP_BITS-1:0] step, most_steps;
    reg [GROUP_BITS-1:0] group, most_groups;
    reg [3:0] ahead;
    reg [7:0] zero, low, high;
    reg opening;  // the next read is the first of a group
    reg [$clog2(TURNS+1)-1:0] pause;
    wire room;
    wire read = running && (!opening || (pause == 0 && (!is_last || room)));
    wire closing = step == most_steps;
    wire end_group = read && closing;
    assign end_layer = end_group && group == most_groups;
    assign emptied = end_layer && is_first;
    wire start = !running && gap == 0 && (layer != 0 || full);
    always @(posedge clk) begin
        if (read) begin
            step <= closing ? 0 : step + 1;
            opening <= closing;
        end
        if (end_group) group <= group == most_groups ? 0 : group + 1;
        if (read && opening) pause <= TURNS - 1;
        else if (pause != 0) pause <= pause - 1;
        if (end_layer) begin
            running <= 0;
            gap <= GAP - 2;
            layer <= last_layer ? 0 : layer + 1;
        end else if (gap != 0) gap <= gap - 1;
        if (start) begin
            running <= 1;
            is_first <= layer == 0;
            is_last <= last_layer;
            side <= layer[0];
            {high, low, zero, ahead, most_groups, most_steps} <= plan;
        end
        if (rst) begin
            running <= 0;
            gap <= 3;  // until the plan's first word is there
            layer <= 0;
            step <= 0;
            group <= 0;
            opening <= 1;
            pause <= 0;
        end
    end
    credit #(.PLACES(SLOTS)) slots (
        .clk(clk),
        .rst(rst),
        .take(read && opening && is_last),
        .give(m_valid && m_ready),
        .free(room)
    );

    // ---- Numbers, four cycles after their addresses, and weights, five cycles after theirs.
    wire [SIMD*8-1:0] from_input, from_vector;
    ram #(
        .WIDTH(SIMD * 8),
        .DEPTH(INPUT_WORDS),
        .SLICE_WIDTH(INPUT_SLICE_WIDTH)
    ) inputs (
        .clk(clk),
        .write(accept),
        .write_address(input_word),
        .write_data(s_data),
        .read_address(step[INPUT_BITS-1:0]),
        .read_data(from_input)
    );
    reg [SIMD*8-1:0] chosen, x;
    reg [3:0] valids, firsts, lasts;
    always @(posedge clk) begin
        chosen <= is_first ? from_input : from_vector;
        x <= chosen;
        valids <= {valids[2:0], read && !rst};
        firsts <= {firsts[2:0], opening};
        lasts <= {lasts[2:0], closing};
        if (rst) valids <= 0;
    end

    reg [AT_BITS-1:0] at;
    always @(posedge clk) begin
        if (read) at <= at == STEPS - 1 ? 0 : at + 1;
        if (rst) at <= 0;
    end
    wire [PE*SIMD*WEIGHT_BITS-1:0] head;
    reg [PE*SIMD*WEIGHT_BITS-1:0] w;  // a cycle after the numbers (see mac.v)
    rom #(
        .WIDTH(PE * SIMD * WEIGHT_BITS),
        .DEPTH(HEAD),
        .FILE(WEIGHTS),
        .SLICE_WIDTH(WEIGHTS_WIDTH),
        .SLICE_DEPTH(WEIGHTS_DEPTH),
        .SPREAD(NEAR)
    ) weights (
        .clk(clk),
        .address(at[(HEAD > 1 ? $clog2(HEAD) : 1)-1:0]),
        .data(head)
    );
    genvar part;
    generate
        if (STEPS == HEAD) begin : all
            always @(posedge clk) w <= head;
        end else begin : split
            localparam REST = STEPS - HEAD;
            localparam OWN = SIMD * WEIGHT_BITS;
            localparam REST_BITS = REST > 1 ? $clog2(REST) : 1;
            wire [PE*SIMD*WEIGHT_BITS-1:0] rest;
            rom #(
                .WIDTH(PE * SIMD * WEIGHT_BITS),
                .DEPTH(REST),
                .FILE(TAIL),
                .SLICE_WIDTH(TAIL_WIDTH),
                .SLICE_DEPTH(TAIL_DEPTH),
                .SPREAD(NEAR)
            ) tail (
                .clk(clk),
                .address(at[REST_BITS-1:0]),  // HEAD is a power of two, and no less than REST
                .data(rest)
            );
            // The choice is as late as the words: each sum's weights have it near.
            reg [2:0] behind;
            wire [PE-1:0] late;
            always @(posedge clk) behind <= {behind[1:0], at >= HEAD};
            copies #(.WIDTH(1), .COPIES(PE)) choice (.clk(clk), .in(behind[2]), .out(late));
            for (part = 0; part < PE; part = part + 1) begin : parts
                always @(posedge clk)
                    w[part*OWN+:OWN] <= late[part] ? rest[part*OWN+:OWN] : head[part*OWN+:OWN];
            end
        end
    endgenerate

    wire done;
    wire [PE*SUM_BITS-1:0] sums;
    mac #(
        .PE(PE),
        .SIMD(SIMD),
        .WEIGHT_BITS(WEIGHT_BITS),
        .SUM_BITS(SUM_BITS),
        .RUNS(GROUPS),
        .BIASES(BIASES),
        .BIASES_WIDTH(BIASES_WIDTH),
        .BIASES_DEPTH(BIASES_DEPTH)
    ) mac (
        .clk(clk),
        .rst(rst),
        .valid(valids[3]),
        .first(firsts[3]),
        .last(lasts[3]),
        .x(x),
        .w(w),
        .done(done),
        .sums(sums)
    );

    // ---- Results, gathered to a word of the next product's vector, or to a beat out.
    wire r_valid;
    wire [RQ*8-1:0] r;
    rescale_any #(
        .PE(PE),
        .RQ(RQ),
        .BITS(SUM_BITS),
        .GROUPS(GROUPS),
        .SHIFT(SHIFT),
        .MORE_BITS(MORE_BITS),
        .SCALE(SCALE),
        .SCALE_WIDTH(SCALE_WIDTH),
        .SCALE_DEPTH(SCALE_DEPTH)
    ) rescale (
        .clk(clk),
        .rst(rst),
        .ahead(ahead),
        .zero(zero),
        .low(low),
        .high(high),
        .s_valid(done),
        .s_data(sums),
        .m_valid(r_valid),
        .m_data(r)
    );
    reg [SIMD*8-1:0] word;
    reg word_is_whole, beat_is_whole;
    wire last_of_beat;
    counter #(.COUNT(TURNS)) beat_turns (
        .clk(clk), .rst(rst), .step(r_valid), .last(last_of_beat)
    );
    wire end_beat = r_valid && last_of_beat;
    reg [GROUP_BITS-1:0] beat;  // of the product's results
    reg [$clog2(SIMD/PE+1)-1:0] missing;  // beats of `word`, less one
    wire end_word = missing == 0 || beat == most_groups;
    reg [WORD_BITS-1:0] written;
    generate
        if (SIMD == RQ) begin : whole
            always @(posedge clk) if (r_valid) word <= r;
        end else begin : pieces
            always @(posedge clk) if (r_valid) word <= {r, word[SIMD*8-1:RQ*8]};
        end
    endgenerate
    always @(posedge clk) begin
        beat_is_whole <= end_beat && is_last && !rst;
        word_is_whole <= end_beat && !is_last && end_word && !rst;
        if (word_is_whole) written <= written + 1;
        if (end_beat) begin
            beat <= beat + 1;
            missing <= end_word ? SIMD / PE - 1 : missing - 1;
        end
        if (start) begin
            written <= 0;
            beat <= 0;
            missing <= SIMD / PE - 1;
        end
    end
    ram #(
        .WIDTH(SIMD * 8),
        .DEPTH(2 << WORD_BITS),
        .SLICE_WIDTH(SLICE_WIDTH)
    ) vectors (
        .clk(clk),
        .write(word_is_whole),
        .write_address({side, written}),
        .write_data(word),
        .read_address({!side, step[WORD_BITS-1:0]}),
        .read_data(from_vector)
    );
    fifo #(
        .WIDTH(PE * 8),
        .DEPTH(SLOTS)
    ) results (
        .clk(clk),
        .rst(rst),
        .s_valid(beat_is_whole),
        .s_ready(),
        .s_data(word[SIMD*8-1-:PE*8]),
        .m_valid(m_valid),
        .m_ready(m_ready),
        .m_data(m_data)
    );
endmodule
