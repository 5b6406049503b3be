// host: what a host asks for over a link of bytes: it feeds frames to a core and gives what comes out.
//
//   ID                              sixteen characters that tell this design from every other
//   IN_LANES, IN_BEATS              of one frame that the core reads; elements of 8 bits
//   OUT_LANES, OUT_BITS, OUT_BEATS  of one frame that it gives; 8 or 16 bits
//   ..._SLICE_WIDTH, ..._SLICE_DEPTH  of the memories of a frame (see frame)
//
// Packets (see packet_in) carry, least significant byte first:
//
//   request  command, tag, count (2 bytes); for command 2 the elements of a frame follow
//   reply    status, tag, cycles (5 bytes), ID (16 bytes); after a run the elements of a frame follow
//
// Command 1 asks who is there. Command 2 gives the core the same frame `count` times, one after
// another, and returns what it made of the last; `cycles` counts the clock edges from the one where
// the core takes the first beat to the one where it gives the last, both included: nothing stalls
// it. `tag` comes back as it was. A status other than 0 says what was wrong: 1 the checksum, 2 the
// length, 3 the command, or a count of 0. A request that comes while there is one already is ignored.
//
// Timing: bytes come 10 clocks or more apart. The core's output is always taken, so that there is no
// `m_ready`.
module host #(
    parameter [127:0] ID = "0000000000000000",
    parameter IN_LANES = 1,
    parameter IN_BEATS = 64,
    parameter IN_SLICE_WIDTH = 0,
    parameter IN_SLICE_DEPTH = 0,
    parameter OUT_LANES = 1,
    parameter OUT_BITS = 8,
    parameter OUT_BEATS = 10,
    parameter OUT_SLICE_WIDTH = 0,
    parameter OUT_SLICE_DEPTH = 0
) (
    input wire clk,
    input wire rst,
    input wire rx_valid,
    input wire [7:0] rx_data,
    output wire tx_valid,
    input wire tx_ready,
    output wire [7:0] tx_data,
    output wire s_valid,
    input wire s_ready,
    output wire [IN_LANES*8-1:0] s_data,
    input wire m_valid,
    input wire [OUT_LANES*OUT_BITS-1:0] m_data,
    output wire busy
);

    // The memories: words of one beat.
    localparam IN_WIDTH = IN_LANES * 8;
    localparam IN_ADDRESS = IN_BEATS > 1 ? $clog2(IN_BEATS) : 1;
    localparam IN_LANE = IN_LANES > 1 ? $clog2(IN_LANES) : 1;
    localparam [31:0] IN_LAST_LANE = IN_LANES - 1;

    localparam OUT_WIDTH = OUT_LANES * OUT_BITS;
    localparam OUT_ADDRESS = OUT_BEATS > 1 ? $clog2(OUT_BEATS) : 1;
    localparam [31:0] OUT_LAST = OUT_BEATS - 1;
    localparam OUT_BYTES = OUT_WIDTH / 8;
    localparam OUT_BYTE = OUT_BYTES > 1 ? $clog2(OUT_BYTES) : 1;
    localparam [31:0] OUT_LAST_BYTE = OUT_BYTES - 1;

    // Lengths of requests: the header, a frame, the checksum.
    localparam [31:0] HEADER = 4;
    localparam [31:0] BRIEF = HEADER + 4;
    localparam [31:0] LENGTH = BRIEF + IN_LANES * IN_BEATS;
    localparam POSITION = $clog2(LENGTH + 2);

    localparam [7:0] IDENTIFY = 8'd1;
    localparam [7:0] RUN = 8'd2;

    localparam [4:0] REPLY_LAST = 5'd22;  // of the header's bytes

    localparam [2:0] LISTENING = 3'd0;
    localparam [2:0] RUNNING = 3'd1;
    localparam [2:0] REPLYING = 3'd2;
    localparam [2:0] FETCHING = 3'd3;
    localparam [2:0] MOVING = 3'd4;
    localparam [2:0] LOADING = 3'd5;
    localparam [2:0] DUMPING = 3'd6;

    reg [2:0] state;

    // The request.
    wire p_valid, p_first, p_end, p_good;
    wire [7:0] p_data;

    packet_in requests (
        .clk(clk),
        .rst(rst),
        .rx_valid(rx_valid),
        .rx_data(rx_data),
        .m_valid(p_valid),
        .m_first(p_first),
        .m_data(p_data),
        .m_end(p_end),
        .m_good(p_good)
    );

    reg listens;  // whether this packet began while LISTENING
    reg [POSITION-1:0] position;  // of the next byte; stays at LENGTH + 1
    reg [7:0] command, tag;
    reg [15:0] count;
    reg in_frame;  // whether the next byte is an element
    reg [IN_LANE-1:0] lane;
    reg [IN_WIDTH-1:0] word;
    wire [IN_WIDTH+7:0] shifted = {p_data, word};
    reg word_whole;
    reg [IN_ADDRESS-1:0] word_to;

    wire takes = p_valid && (p_first ? state == LISTENING : listens && state == LISTENING);

    always @(posedge clk) begin
        word_whole <= 1'b0;
        if (word_whole) word_to <= word_to + 1'b1;
        if (p_valid && p_first) listens <= state == LISTENING;
        if (takes) begin
            if (p_first) begin
                position <= {{POSITION - 1{1'b0}}, 1'b1};
                command <= p_data;
                in_frame <= 1'b0;
                lane <= {IN_LANE{1'b0}};
                word_to <= {IN_ADDRESS{1'b0}};
            end else begin
                if (position != LENGTH[POSITION-1:0] + 1'b1) position <= position + 1'b1;
                if (position == 1) tag <= p_data;
                if (position == 2) count[7:0] <= p_data;
                if (position == 3) begin
                    count[15:8] <= p_data;
                    in_frame <= 1'b1;
                end
            end
            if (in_frame && !p_first) begin
                word <= shifted[IN_WIDTH+7:8];
                lane <= lane + 1'b1;
                if (lane == IN_LAST_LANE[IN_LANE-1:0]) begin
                    lane <= {IN_LANE{1'b0}};
                    word_whole <= 1'b1;
                    if (position == LENGTH[POSITION-1:0] - 5) in_frame <= 1'b0;
                end
            end
        end
        if (rst) begin
            listens <= 1'b0;
            word_whole <= 1'b0;
        end
    end

    wire known = command == IDENTIFY || command == RUN;
    wire fits = position == (command == RUN ? LENGTH[POSITION-1:0] : BRIEF[POSITION-1:0]);
    wire asks = p_end && listens && state == LISTENING;
    reg [7:0] status;
    wire run = command == RUN && status == 0;

    // To the core.
    wire read, move;
    wire [IN_ADDRESS-1:0] in_address;
    reg start;

    frame #(
        .WIDTH(IN_WIDTH),
        .DEPTH(IN_BEATS),
        .SLICE_WIDTH(IN_SLICE_WIDTH),
        .SLICE_DEPTH(IN_SLICE_DEPTH)
    ) inputs (
        .clk(clk),
        .write(word_whole),
        .to(word_to),
        .data(word),
        .read(read),
        .address(in_address),
        .move(move),
        .q(s_data)
    );

    feed #(
        .BEATS(IN_BEATS)
    ) feed (
        .clk(clk),
        .rst(rst),
        .start(start),
        .frames(count),
        .read(read),
        .address(in_address),
        .move(move),
        .m_valid(s_valid),
        .m_ready(s_ready)
    );

    // From the core. The registers before the memory keep its wires off the core's.
    reg out_valid;
    reg [OUT_WIDTH-1:0] out_data;
    reg [OUT_ADDRESS-1:0] out_to;
    reg [15:0] out_left;  // frames
    reg counting, ended;
    reg [39:0] cycles;
    reg [OUT_ADDRESS-1:0] out_address;
    wire [OUT_WIDTH-1:0] out_word;

    frame #(
        .WIDTH(OUT_WIDTH),
        .DEPTH(OUT_BEATS),
        .SLICE_WIDTH(OUT_SLICE_WIDTH),
        .SLICE_DEPTH(OUT_SLICE_DEPTH)
    ) outputs (
        .clk(clk),
        .write(out_valid),
        .to(out_to),
        .data(out_data),
        .read(state == FETCHING),
        .address(out_address),
        .move(state == MOVING),
        .q(out_word)
    );

    reg [OUT_ADDRESS-1:0] out_next;
    wire out_last = m_valid && out_next == OUT_LAST[OUT_ADDRESS-1:0];

    always @(posedge clk) begin
        out_valid <= m_valid;
        out_data <= m_data;
        out_to <= out_next;
        ended <= 1'b0;
        if (counting) cycles <= cycles + 1'b1;
        if (start) begin
            cycles <= 40'd1;
            out_next <= {OUT_ADDRESS{1'b0}};
            out_left <= count;
        end else begin
            if (s_valid && s_ready && state == RUNNING) counting <= 1'b1;
            if (m_valid) out_next <= out_last ? {OUT_ADDRESS{1'b0}} : out_next + 1'b1;
            if (out_last) begin
                out_left <= out_left - 1'b1;
                if (out_left == 1) begin
                    counting <= 1'b0;
                    ended <= 1'b1;
                end
            end
        end
        if (rst) begin
            counting <= 1'b0;
            ended <= 1'b0;
            out_valid <= 1'b0;
        end
    end

    // The reply: its header, then the frame, a byte at a time.
    reg [4:0] index;  // of the header's byte
    reg [OUT_WIDTH-1:0] rest;  // of a beat
    reg [OUT_BYTE-1:0] out_byte;
    wire out_ends = out_byte == OUT_LAST_BYTE[OUT_BYTE-1:0];
    wire out_done = out_address == OUT_LAST[OUT_ADDRESS-1:0];

    wire [55:0] figures = {cycles, tag, status};
    wire [7:0] header = index < 5'd7 ? figures[8*index+:8] : ID[8*(REPLY_LAST-index)+:8];
    wire [OUT_WIDTH+7:0] rest_shifted = {8'd0, rest};

    wire r_valid = state == REPLYING || state == DUMPING;
    wire [7:0] r_data = state == REPLYING ? header : rest[7:0];
    wire r_last = state == REPLYING ? index == REPLY_LAST && !run : out_ends && out_done;
    wire r_ready, sending;

    packet_out replies (
        .clk(clk),
        .rst(rst),
        .s_valid(r_valid),
        .s_ready(r_ready),
        .s_data(r_data),
        .s_last(r_last),
        .tx_valid(tx_valid),
        .tx_ready(tx_ready),
        .tx_data(tx_data),
        .busy(sending)
    );

    assign busy = state != LISTENING || sending;

    always @(posedge clk) begin
        start <= 1'b0;
        case (state)
            LISTENING:
            if (asks) begin
                index <= 5'd0;
                out_address <= {OUT_ADDRESS{1'b0}};
                status <= 8'd0;
                state <= REPLYING;
                if (!p_good) status <= 8'd1;
                else if (!known || count == 0) status <= 8'd3;
                else if (!fits) status <= 8'd2;
                else if (command == RUN) begin
                    start <= 1'b1;
                    state <= RUNNING;
                end
            end
            RUNNING: if (ended) state <= REPLYING;
            REPLYING:
            if (r_ready) begin
                index <= index + 1'b1;
                if (index == REPLY_LAST) state <= run ? FETCHING : LISTENING;
            end
            FETCHING: state <= MOVING;
            MOVING: state <= LOADING;
            LOADING: begin
                rest <= out_word;
                out_byte <= {OUT_BYTE{1'b0}};
                state <= DUMPING;
            end
            DUMPING:
            if (r_ready) begin
                rest <= rest_shifted[OUT_WIDTH+7:8];
                out_byte <= out_byte + 1'b1;
                if (out_ends) begin
                    out_address <= out_address + 1'b1;
                    state <= out_done ? LISTENING : FETCHING;
                end
            end
            default: state <= LISTENING;
        endcase
        if (rst) begin
            state <= LISTENING;
            start <= 1'b0;
        end
    end

endmodule
