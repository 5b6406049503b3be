// resize: each pixel DOWN times down and ACROSS times across.
//
//   PE            channels in a beat
//   WIDTH, BEATS  pixels of a row, beats of a pixel, of the input
//   DOWN, ACROSS  how often each is repeated
//   SLICE_WIDTH   of the memory of one row: see ram.v
//
// Timing, in cycles: the reads, in the order of the output, are one in a cycle, while fewer than 16
// of them are on their way, which they are from the cycle after they begin through that in which
// their result is taken. A beat that is accepted in n can be read from n + 1 on, and another takes
// its place no earlier than in the cycle after its last read; the memory holds WIDTH x BEATS. What
// is read in n is offered in n + 4 or, if later, in the cycle after the one before it was taken.
module resize #(
    parameter PE = 1,
    parameter WIDTH = 4,
    parameter BEATS = 1,
    parameter DOWN = 2,
    parameter ACROSS = 2,
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
    localparam ROW = WIDTH * BEATS;
    localparam COUNT = $clog2(ROW + 1);
    localparam ADDRESS_BITS = ROW > 1 ? $clog2(ROW) : 1;

    // ---- Which read is next: beats, times across, pixels, times down.
    wire last_beat, last_across, last_pixel, last_down, free;
    reg first_across, first_down;
    reg [COUNT-1:0] stored, fresh;  // beats in the memory, and of these never read so far
    wire first = first_across && first_down;
    wire last = last_across && last_down;
    wire step = free && (!first || fresh != 0);
    wire end_copy = step && last_beat;
    wire end_pixel = end_copy && last_across;
    wire end_row = end_pixel && last_pixel;

    counter #(.COUNT(BEATS)) beat (.clk(clk), .rst(rst), .step(step), .last(last_beat));
    counter #(.COUNT(ACROSS)) copy (.clk(clk), .rst(rst), .step(end_copy), .last(last_across));
    counter #(.COUNT(WIDTH)) pixel (.clk(clk), .rst(rst), .step(end_pixel), .last(last_pixel));
    counter #(.COUNT(DOWN)) row (.clk(clk), .rst(rst), .step(end_row), .last(last_down));

    always @(posedge clk)
        if (rst) {first_across, first_down} <= 2'b11;
        else begin
            if (end_copy) first_across <= last_across;
            if (end_row) first_down <= last_down;
        end

    // ---- Where it is in the memory.
    reg [ADDRESS_BITS-1:0] write_address, address, home;  // `home`: the pixel's first beat
    wire accept = s_valid && s_ready;

    assign s_ready = stored != ROW;

    always @(posedge clk)
        if (rst) begin
            {stored, fresh} <= {2 * COUNT{1'b0}};
            {write_address, address, home} <= {3 * ADDRESS_BITS{1'b0}};
        end else begin
            stored <= stored + accept - (step && last);
            fresh <= fresh + accept - (step && first);
            if (accept) write_address <= write_address == ROW - 1 ? 0 : write_address + 1'b1;
            if (end_row) {address, home} <= {2 * ADDRESS_BITS{1'b0}};
            else if (end_pixel) begin
                address <= address + 1'b1;
                home <= address + 1'b1;
            end else if (end_copy) address <= home;
            else if (step) address <= address + 1'b1;
        end

    wire [PE*8-1:0] found;
    ram #(
        .WIDTH(PE * 8),
        .DEPTH(ROW),
        .SLICE_WIDTH(SLICE_WIDTH)
    ) memory (
        .clk(clk),
        .write(accept),
        .write_address(write_address),
        .write_data(s_data),
        .read_address(address),
        .read_data(found)
    );

    // ---- The results.
    credit #(
        .PLACES(PLACES)
    ) slots (
        .clk(clk),
        .rst(rst),
        .take(step),
        .give(m_valid && m_ready),
        .free(free)
    );

    reg [1:0] moving;
    always @(posedge clk) moving <= rst ? 2'b00 : {moving[0], step};

    fifo #(
        .WIDTH(PE * 8),
        .DEPTH(PLACES)
    ) queue (
        .clk(clk),
        .rst(rst),
        .s_valid(moving[1]),
        .s_ready(),
        .s_data(found),
        .m_valid(m_valid),
        .m_ready(m_ready),
        .m_data(m_data)
    );

endmodule
