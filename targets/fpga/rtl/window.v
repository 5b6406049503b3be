// The front of every engine with a window: keeps as much of the image as the window reaches, in a
// circular buffer, and reads it again and again in the order in which the engine computes.
//
// Beats of LANES int8 come in order y, x, channel; one pixel is GROUPS * WORDS beats, a frame
// HEIGHT * WIDTH pixels. For each pixel out (rows, then columns), for each of GROUPS groups of
// channels, REPEATS times, the beats of that group are read from all positions of the window (rows,
// then columns), WORDS of each. Such a run of
//     R = KERNEL_HEIGHT * KERNEL_WIDTH * WORDS
// reads has no gaps; positions outside the image read as PAD in every lane. There are
// P = GROUPS * REPEATS * R reads for a pixel out.
//
// STRIDE_*, DILATION_*, PAD_TOP, PAD_LEFT, OUT_*: as in ONNX. Every window must touch the image.
// DEPTH: beats in the buffer, a power of two from 2; at least those from the first beat to the last
//     that any one window reaches.
// SLICE_WIDTH: bits of a beat in one block RAM, or 0: logic (see ram.v).
// SLOTS: runs that may be under way: begun, and their result not `taken` yet.
//
// Ports: `step` says that a read begins in this cycle (for the engine's own addresses); three
// cycles later the beat is in m_data, with m_valid, and m_first and m_last for the ends of a run.
//
// Timing. W(n): beats accepted in cycles before n. S(p): the cycle of the first read for pixel p,
// E(p): of its last; need(p), free(p): beats up to the last, and before the first, that p's window
// reaches, counted from the first beat of all (rows and columns cut to the image).
// - A run begins in cycle n if the run before has had its R reads, and fewer than SLOTS runs are
//   under way, counting those begun before n less those taken before n; if it is the first of
//   pixel p, also W(n - 1) >= need(p), and n >= S(p - 1) + 4. It begins in the first such cycle.
// - s_ready of cycle n: W(n) - free(p) < DEPTH, for the last p with
//   max(E(p - 1) + 3, S(p - 1) + 5) <= n. (In the first cycle after a reset: not.)
module window #(
    parameter LANES = 1,
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
    output reg s_ready,
    input [LANES*8-1:0] s_data,
    input taken,
    output step,
    output m_valid,
    output m_first,
    output m_last,
    output reg [LANES*8-1:0] m_data
);
    localparam PIXEL = GROUPS * WORDS;
    localparam ROW = WIDTH * PIXEL;
    localparam FRAME = HEIGHT * ROW;
    localparam REACH_Y = (KERNEL_HEIGHT - 1) * DILATION_Y + 1;
    localparam REACH_X = (KERNEL_WIDTH - 1) * DILATION_X + 1;
    localparam LAST_Y = (OUT_HEIGHT - 1) * STRIDE_Y - PAD_TOP;  // the last window's corner
    localparam LAST_X = (OUT_WIDTH - 1) * STRIDE_X - PAD_LEFT;
    localparam PADDED = PAD_TOP > 0 || PAD_LEFT > 0 || LAST_Y + REACH_Y > HEIGHT
                        || LAST_X + REACH_X > WIDTH;

    // ---- Which read is next. `opening`: the first of a run; `fresh`: the first of a pixel.
    wire last_word, last_kx, last_ky, last_repeat, last_group, last_x, last_y;
    reg opening, fresh, available, room;
    wire read = !opening || (room && (!fresh || available));
    wire end_tap = read && last_word;
    wire end_tap_row = end_tap && last_kx;
    wire end_run = end_tap_row && last_ky;
    wire end_group = end_run && last_repeat;
    wire end_pixel = end_group && last_group;
    wire end_row = end_pixel && last_x;
    wire begin_run = read && opening;
    wire begin_pixel = read && fresh;
    assign step = read;

    counter #(.COUNT(WORDS)) word (.clk(clk), .rst(rst), .step(read), .last(last_word));
    counter #(.COUNT(KERNEL_WIDTH)) kx (.clk(clk), .rst(rst), .step(end_tap), .last(last_kx));
    counter #(.COUNT(KERNEL_HEIGHT)) ky (.clk(clk), .rst(rst), .step(end_tap_row), .last(last_ky));
    counter #(.COUNT(REPEATS)) again (.clk(clk), .rst(rst), .step(end_run), .last(last_repeat));
    counter #(.COUNT(GROUPS)) group (.clk(clk), .rst(rst), .step(end_group), .last(last_group));
    counter #(.COUNT(OUT_WIDTH)) ox (.clk(clk), .rst(rst), .step(end_pixel), .last(last_x));
    counter #(.COUNT(OUT_HEIGHT)) oy (.clk(clk), .rst(rst), .step(end_row), .last(last_y));

    always @(posedge clk) begin
        if (read) begin
            opening <= end_run;
            fresh <= end_pixel;
        end
        if (rst) begin
            opening <= 1;
            fresh <= 1;
        end
    end

    // ---- Where it is in the buffer: `home` is where the run began. Everything is modulo DEPTH,
    // positions outside the image as well.
    localparam ADDRESS_BITS = $clog2(DEPTH);
    localparam TO_TAP = DILATION_X * PIXEL - (WORDS - 1);
    localparam TO_TAP_ROW = DILATION_Y * ROW - (KERNEL_WIDTH - 1) * DILATION_X * PIXEL - (WORDS - 1);
    localparam TO_GROUP = WORDS;
    localparam TO_PIXEL = STRIDE_X * PIXEL - (GROUPS - 1) * WORDS;
    localparam TO_ROW = TO_PIXEL + STRIDE_Y * ROW - OUT_WIDTH * STRIDE_X * PIXEL;
    localparam TO_FRAME = TO_ROW + FRAME - OUT_HEIGHT * STRIDE_Y * ROW;
    localparam CORNER = -(PAD_TOP * ROW + PAD_LEFT * PIXEL);

    reg [ADDRESS_BITS-1:0] address, home;
    wire [ADDRESS_BITS-1:0] hop = !last_word ? 1 : !last_kx ? TO_TAP : TO_TAP_ROW;
    wire [ADDRESS_BITS-1:0] leap = !last_repeat ? 0 : !last_group ? TO_GROUP : !last_x ? TO_PIXEL
                                   : !last_y ? TO_ROW : TO_FRAME;
    wire [ADDRESS_BITS-1:0] next_home = home + leap;
    wire closing = last_word && last_kx && last_ky;
    always @(posedge clk) begin
        if (read) begin
            address <= closing ? next_home : address + hop;
            if (closing) home <= next_home;
        end
        if (rst) begin
            address <= CORNER;
            home <= CORNER;
        end
    end

    // ---- Whether it is outside the image.
    wire outside;
    generate
        if (PADDED) begin : padded
            localparam Y_BITS = $clog2(HEIGHT + PAD_TOP + REACH_Y) + 2;
            localparam X_BITS = $clog2(WIDTH + PAD_LEFT + REACH_X) + 2;
            reg signed [Y_BITS-1:0] y, top;
            reg signed [X_BITS-1:0] x, left;
            wire signed [Y_BITS-1:0] next_top = !end_row ? top : last_y ? -PAD_TOP : top + STRIDE_Y;
            wire signed [X_BITS-1:0] next_left = !end_pixel ? left : last_x ? -PAD_LEFT
                                                 : left + STRIDE_X;
            reg is_outside;
            assign outside = is_outside;
            always @(posedge clk) begin
                top <= next_top;
                left <= next_left;
                if (end_tap_row) y <= last_ky ? next_top : y + DILATION_Y;
                if (end_tap) x <= last_kx ? next_left : x + DILATION_X;
                is_outside <= y < 0 || y >= HEIGHT || x < 0 || x >= WIDTH;
                if (rst) begin
                    y <= -PAD_TOP;
                    top <= -PAD_TOP;
                    x <= -PAD_LEFT;
                    left <= -PAD_LEFT;
                end
            end
        end else begin : bare
            assign outside = 1'b0;
        end
    endgenerate

    // ---- Which beats the next pixel needs, and which nothing needs any more. Numbers of beats
    // count on from frame to frame, modulo a power of two well above their differences. `scout`
    // stands at the pixel that is the next to begin; what follows from it is three registers deep.
    localparam COUNT_BITS = $clog2(FRAME + (PAD_TOP + REACH_Y) * ROW + DEPTH) + 2;
    wire last_scout_x, last_scout_y;
    wire scout_row = begin_pixel && last_scout_x;
    counter #(.COUNT(OUT_WIDTH)) sx (.clk(clk), .rst(rst), .step(begin_pixel), .last(last_scout_x));
    counter #(.COUNT(OUT_HEIGHT)) sy (.clk(clk), .rst(rst), .step(scout_row), .last(last_scout_y));

    reg signed [COUNT_BITS-1:0] frame, top_beat, left_beat;  // top and left: within the frame
    reg signed [COUNT_BITS-1:0] first_row, first_column, last_row, last_column;
    reg signed [COUNT_BITS-1:0] need, free, limit, written;
    wire signed [COUNT_BITS-1:0] missing = written - need;
    wire signed [COUNT_BITS-1:0] over = written - limit;
    wire signed [COUNT_BITS-1:0] over_next = written + 1 - limit;
    reg [1:0] settled;  // stages behind the scout, the third excepted, that know of its last move
    always @(posedge clk) begin
        if (begin_pixel) left_beat <= last_scout_x ? -PAD_LEFT * PIXEL : left_beat + STRIDE_X * PIXEL;
        if (scout_row) begin
            top_beat <= last_scout_y ? -PAD_TOP * ROW : top_beat + STRIDE_Y * ROW;
            if (last_scout_y) frame <= frame + FRAME;
        end
        first_row <= frame + (top_beat < 0 ? 0 : top_beat);
        // Above the image, the windows of the next row may reach its first beat again.
        first_column <= top_beat < 0 || left_beat < 0 ? 0 : left_beat;
        last_row <= frame + (top_beat > (HEIGHT - REACH_Y) * ROW ? (HEIGHT - 1) * ROW
                             : top_beat + (REACH_Y - 1) * ROW);
        last_column <= left_beat > (WIDTH - REACH_X) * PIXEL ? ROW : left_beat + REACH_X * PIXEL;
        need <= last_row + last_column;
        free <= first_row + first_column;
        settled <= begin_pixel ? 2'b00 : {settled[0], 1'b1};
        available <= settled[1] && !begin_pixel && missing >= 0;
        if (fresh && settled[1]) limit <= free + DEPTH;
        if (rst) begin
            frame <= 0;
            top_beat <= -PAD_TOP * ROW;
            left_beat <= -PAD_LEFT * PIXEL;
            settled <= 0;
            available <= 0;
            limit <= DEPTH;
        end
    end

    // ---- The buffer.
    wire accept = s_valid && s_ready;
    wire [LANES*8-1:0] kept;
    always @(posedge clk) begin
        written <= written + accept;
        s_ready <= accept ? over_next < 0 : over < 0;
        if (rst) begin
            written <= 0;
            s_ready <= 0;
        end
    end
    ram #(
        .WIDTH(LANES * 8),
        .DEPTH(DEPTH),
        .SLICE_WIDTH(SLICE_WIDTH)
    ) buffer (
        .clk(clk),
        .write(accept),
        .write_address(written[ADDRESS_BITS-1:0]),
        .write_data(s_data),
        .read_address(address),
        .read_data(kept)
    );

    // ---- What is read, beside what is known about it.
    reg [2:0] valids, firsts, lasts;
    reg is_pad;
    wire [7:0] pad = PAD;
    always @(posedge clk) begin
        valids <= {valids[1:0], read && !rst};
        firsts <= {firsts[1:0], opening};
        lasts <= {lasts[1:0], closing};
        is_pad <= outside;
        is_pad <= outside;
        m_data <= is_pad ? {LANES{pad}} : kept;
        if (rst) valids <= 0;
    end
    assign m_valid = valids[2];
    assign m_first = firsts[2];
    assign m_last = lasts[2];

    // ---- Places for results.
    reg [$clog2(SLOTS+1)-1:0] places;
    wire [$clog2(SLOTS+1)-1:0] next_places = places + taken - begin_run;
    always @(posedge clk) begin
        places <= next_places;
        room <= next_places != 0;
        if (rst) begin
            places <= SLOTS;
            room <= 0;
        end
    end
endmodule
