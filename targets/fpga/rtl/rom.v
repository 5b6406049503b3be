// A read-only memory.
//
// WIDTH, DEPTH: bits of a word, and words.
// FILE: the beginning of the names of the files that hold it: FILE_000.hex and on (`memories.py`
//     writes them), one for each slice: the lowest bits of the first words, the next bits, ...,
//     then the next words.
// SPREAD: slices for which the address has a register of its own, which takes a cycle more: for
//     memories so wide that their blocks stand all over the device. 0: none has.
// SLICE_WIDTH, SLICE_DEPTH: of one slice, which takes one block RAM; zeros: logic, in one slice.
//
// Timing: the address of cycle n gives the data of cycle n + 3, n + 4 if SPREAD (the memory's own register, one that
// keeps its slow output from whatever follows, and one behind the choice among slices of words).
module rom #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter FILE = "",
    parameter SLICE_WIDTH = 0,
    parameter SLICE_DEPTH = 0,
    parameter SPREAD = 0,
    parameter ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input clk,
    input [ADDRESS_BITS-1:0] address,
    output reg [WIDTH-1:0] data
);
    localparam TALL = SLICE_DEPTH > 0 ? SLICE_DEPTH : DEPTH;
    localparam WIDE = SLICE_WIDTH > 0 ? SLICE_WIDTH : WIDTH;
    localparam ROWS = (DEPTH + TALL - 1) / TALL;
    localparam COLUMNS = (WIDTH + WIDE - 1) / WIDE;

    localparam NEAR = SPREAD > 0 ? SPREAD : ROWS * COLUMNS;
    localparam ADDRESSES = (ROWS * COLUMNS + NEAR - 1) / NEAR;
    wire [ADDRESSES*ADDRESS_BITS-1:0] addresses;
    generate
        if (SPREAD > 0) begin : spread
            copies #(
                .WIDTH(ADDRESS_BITS),
                .COPIES(ADDRESSES)
            ) spread (
                .clk(clk),
                .in(address),
                .out(addresses)
            );
        end else begin : direct
            assign addresses = address;
        end
    endgenerate

    wire [ROWS*WIDTH-1:0] words;
    genvar row, column;
    generate
        for (row = 0; row < ROWS; row = row + 1) begin : rows
            for (column = 0; column < COLUMNS; column = column + 1) begin : columns
                localparam INDEX = row * COLUMNS + column;
                localparam [7:0] HUNDREDS = 48 + INDEX / 100;  // digits in ASCII
                localparam [7:0] TENS = 48 + INDEX / 10 % 10;
                localparam [7:0] ONES = 48 + INDEX % 10;
                localparam HIGH = (row + 1) * TALL < DEPTH ? TALL : DEPTH - row * TALL;
                localparam BITS = (column + 1) * WIDE < WIDTH ? WIDE : WIDTH - column * WIDE;
                rom_slice #(
                    .WIDTH(BITS),
                    .DEPTH(HIGH),
                    .ADDRESS_BITS(HIGH > 1 ? $clog2(HIGH) : 1),
                    .FILE({FILE, "_", HUNDREDS, TENS, ONES, ".hex"}),
                    .LOAD(FILE != ""),
                    .STYLE(SLICE_DEPTH > 0 ? "block" : "logic")
                ) slice (
                    .clk(clk),
                    .address(addresses[INDEX/NEAR*ADDRESS_BITS+:(HIGH > 1 ? $clog2(HIGH) : 1)]),
                    .data(words[row*WIDTH+column*WIDE+:BITS])
                );
            end
        end

        if (ROWS == 1) begin : one
            always @(posedge clk) data <= words;
        end else begin : many
            localparam LOW = $clog2(TALL);
            reg [ADDRESS_BITS-LOW-1:0] first, second;
            always @(posedge clk) begin
                first <= addresses[ADDRESS_BITS-1:LOW];
                second <= first;
                data <= words[second*WIDTH+:WIDTH];
            end
        end
    endgenerate
endmodule

// One memory of one file, and a register behind it.
module rom_slice #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter ADDRESS_BITS = 4,
    parameter FILE = "",
    parameter LOAD = 0,
    parameter STYLE = "block"
) (
    input clk,
    input [ADDRESS_BITS-1:0] address,
    output reg [WIDTH-1:0] data
);
    reg [WIDTH-1:0] read;
    generate
        if (STYLE == "block") begin : block
            (* rom_style = "block" *) reg [WIDTH-1:0] words[0:DEPTH-1];
            initial if (LOAD) $readmemh(FILE, words);
            always @(posedge clk) read <= words[address];
        end else begin : logic_
            (* rom_style = "logic" *) reg [WIDTH-1:0] words[0:DEPTH-1];
            initial if (LOAD) $readmemh(FILE, words);
            always @(posedge clk) read <= words[address];
        end
    endgenerate
    always @(posedge clk) data <= read;
endmodule
