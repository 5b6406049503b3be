// A memory with one port to write and one to read.
//
// WIDTH, DEPTH: bits of a word, and words.
// SLICE_WIDTH: bits of one column, which takes one block RAM as deep as DEPTH; 0: logic.
//
// Timing: what is written in cycle n can be read from cycle n + 1 on; the address of cycle n gives
// the data of cycle n + 2 (the memory's own register, and one that keeps its slow output from
// whatever follows). What is read while it is written is undefined.
module ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter SLICE_WIDTH = 0,
    parameter ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input clk,
    input write,
    input [ADDRESS_BITS-1:0] write_address,
    input [WIDTH-1:0] write_data,
    input [ADDRESS_BITS-1:0] read_address,
    output [WIDTH-1:0] read_data
);
    localparam WIDE = SLICE_WIDTH > 0 ? SLICE_WIDTH : WIDTH;
    localparam COLUMNS = (WIDTH + WIDE - 1) / WIDE;

    genvar column;
    generate
        for (column = 0; column < COLUMNS; column = column + 1) begin : columns
            localparam BITS = (column + 1) * WIDE < WIDTH ? WIDE : WIDTH - column * WIDE;
            ram_slice #(
                .WIDTH(BITS),
                .DEPTH(DEPTH),
                .ADDRESS_BITS(ADDRESS_BITS),
                .STYLE(SLICE_WIDTH > 0 ? "block" : "distributed")
            ) slice (
                .clk(clk),
                .write(write),
                .write_address(write_address),
                .write_data(write_data[column*WIDE+:BITS]),
                .read_address(read_address),
                .read_data(read_data[column*WIDE+:BITS])
            );
        end
    endgenerate
endmodule

// One memory, and a register behind it.
module ram_slice #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter ADDRESS_BITS = 4,
    parameter STYLE = "block"
) (
    input clk,
    input write,
    input [ADDRESS_BITS-1:0] write_address,
    input [WIDTH-1:0] write_data,
    input [ADDRESS_BITS-1:0] read_address,
    output reg [WIDTH-1:0] read_data
);
    reg [WIDTH-1:0] read;
    generate
        if (STYLE == "block") begin : block
            (* no_rw_check, ram_style = "block" *) reg [WIDTH-1:0] words[0:DEPTH-1];
            always @(posedge clk) begin
                if (write) words[write_address] <= write_data;
                read <= words[read_address];
            end
        end else begin : logic_
            (* no_rw_check, ram_style = "distributed" *) reg [WIDTH-1:0] words[0:DEPTH-1];
            always @(posedge clk) begin
                if (write) words[write_address] <= write_data;
                read <= words[read_address];
            end
        end
    endgenerate
    always @(posedge clk) read_data <= read;
endmodule
