// frame: a memory of words, written at one side and read at the other, where readers may wait.
//
//   WIDTH, DEPTH              bits of a word, words
//   SLICE_WIDTH, SLICE_DEPTH  of one block RAM; 0: it is made of logic
//
// Timing: the word at `address` at a clock edge with `read` is in `q` after the next edge with
// `move`, and stays there until another one; there has to be a `move` before the next `read`, or at
// the same edge. A word that is read as it is written may be the old one or the new one.
module frame #(
    parameter WIDTH = 8,
    parameter DEPTH = 64,
    parameter SLICE_WIDTH = 0,
    parameter SLICE_DEPTH = 0,
    parameter ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input wire clk,
    input wire write,
    input wire [ADDRESS-1:0] to,
    input wire [WIDTH-1:0] data,
    input wire read,
    input wire [ADDRESS-1:0] address,
    input wire move,
    output wire [WIDTH-1:0] q
);

    localparam WIDE = SLICE_WIDTH > 0 ? SLICE_WIDTH : WIDTH;
    localparam DEEP = SLICE_DEPTH > 0 ? SLICE_DEPTH : DEPTH;
    localparam COLUMNS = (WIDTH + WIDE - 1) / WIDE;
    localparam ROWS = (DEPTH + DEEP - 1) / DEEP;
    localparam INNER = DEEP > 1 ? $clog2(DEEP) : 1;  // bits of the address within a slice
    localparam OUTER = ROWS > 1 ? $clog2(ROWS) : 1;

    wire [OUTER-1:0] to_row = to >> INNER;
    wire [OUTER-1:0] read_row = address >> INNER;
    reg [OUTER-1:0] row, q_row;

    always @(posedge clk) begin
        if (read) row <= read_row;
        if (move) q_row <= row;
    end

    wire [ROWS*WIDTH-1:0] rows;
    assign q = rows[q_row*WIDTH+:WIDTH];

    genvar x, y;
    generate
        for (y = 0; y < ROWS; y = y + 1) begin : row_of
            localparam HIGH = DEPTH - y * DEEP < DEEP ? DEPTH - y * DEEP : DEEP;
            for (x = 0; x < COLUMNS; x = x + 1) begin : column
                localparam BITS = WIDTH - x * WIDE < WIDE ? WIDTH - x * WIDE : WIDE;
                frame_slice #(
                    .WIDTH(BITS),
                    .DEPTH(HIGH),
                    .BLOCK(SLICE_WIDTH > 0)
                ) slice (
                    .clk(clk),
                    .write(write && to_row == y),
                    .to(to[(HIGH > 1 ? $clog2(HIGH) : 1)-1:0]),
                    .data(data[x*WIDE+:BITS]),
                    .read(read),
                    .address(address[(HIGH > 1 ? $clog2(HIGH) : 1)-1:0]),
                    .move(move),
                    .q(rows[y*WIDTH+x*WIDE+:BITS])
                );
            end
        end
    endgenerate

endmodule

// One memory, and a register behind it.
module frame_slice #(
    parameter WIDTH = 8,
    parameter DEPTH = 64,
    parameter BLOCK = 0,
    parameter ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input wire clk,
    input wire write,
    input wire [ADDRESS-1:0] to,
    input wire [WIDTH-1:0] data,
    input wire read,
    input wire [ADDRESS-1:0] address,
    input wire move,
    output reg [WIDTH-1:0] q
);

    reg [WIDTH-1:0] word;

    always @(posedge clk) if (move) q <= word;

    generate
        if (BLOCK) begin : block
            (* ram_style = "block", no_rw_check *) reg [WIDTH-1:0] words[0:DEPTH-1];
            always @(posedge clk) begin
                if (write) words[to] <= data;
                if (read) word <= words[address];
            end
        end else begin : tables
            (* ram_style = "distributed", no_rw_check *) reg [WIDTH-1:0] words[0:DEPTH-1];
            always @(posedge clk) begin
                if (write) words[to] <= data;
                if (read) word <= words[address];
            end
        end
    endgenerate

endmodule
