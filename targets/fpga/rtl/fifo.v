// A queue of DEPTH beats.
//
// WIDTH: bits of a beat.
// DEPTH: how many beats it holds, exactly: any number from 1.
// STYLE: "distributed": in logic; "block": in block RAM.
// SLICE_WIDTH: bits of a beat in one block RAM ("block"); see ram.v.
//
// Timing: s_ready of cycle n: fewer than DEPTH beats are inside, counting those accepted before
// cycle n less those taken before it. A beat accepted in cycle n is offered in cycle n + LATENCY
// or, if later, in the cycle after the one before it was taken; LATENCY is 2 in logic, 5 in block
// RAM. One beat a cycle passes.
module fifo #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter STYLE = "distributed",
    parameter SLICE_WIDTH = 36
) (
    input clk,
    input rst,
    input s_valid,
    output reg s_ready,
    input [WIDTH-1:0] s_data,
    output m_valid,
    input m_ready,
    output [WIDTH-1:0] m_data
);
    localparam ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
    localparam COUNT_BITS = $clog2(DEPTH + 1);

    wire enter = s_valid && s_ready;
    wire leave = m_valid && m_ready;
    reg [COUNT_BITS-1:0] held;
    wire [COUNT_BITS-1:0] next_held = held + enter - leave;
    reg [ADDRESS_BITS-1:0] write_address;
    always @(posedge clk) begin
        held <= next_held;
        s_ready <= next_held < DEPTH;
        if (enter) write_address <= write_address == DEPTH - 1 ? 0 : write_address + 1;
        if (rst) begin
            held <= 0;
            s_ready <= 0;
            write_address <= 0;
        end
    end

    // Beats in the memory, which those on their way out have left.
    reg [COUNT_BITS-1:0] waiting;
    reg filled;
    wire [COUNT_BITS-1:0] next_waiting;
    wire fetch;
    assign next_waiting = waiting + enter - fetch;
    reg [ADDRESS_BITS-1:0] read_address;
    always @(posedge clk) begin
        waiting <= next_waiting;
        filled <= next_waiting != 0;
        if (fetch) read_address <= read_address == DEPTH - 1 ? 0 : read_address + 1;
        if (rst) begin
            waiting <= 0;
            filled <= 0;
            read_address <= 0;
        end
    end

    generate
        if (STYLE == "distributed") begin : logic_
            (* no_rw_check, ram_style = "distributed" *) reg [WIDTH-1:0] words[0:DEPTH-1];
            reg valid;
            reg [WIDTH-1:0] data;
            assign fetch = filled && (!valid || m_ready);
            always @(posedge clk) begin
                if (enter) words[write_address] <= s_data;
                if (!valid || m_ready) begin
                    data <= words[read_address];
                    valid <= filled;
                end
                if (rst) valid <= 0;
            end
            assign m_valid = valid;
            assign m_data = data;
        end else begin : block
            // The memory is not stopped: a beat leaves it when a place in the short queue behind
            // it is reserved. Eight places are enough for the five cycles until one comes back.
            wire [WIDTH-1:0] read_data;
            ram #(
                .WIDTH(WIDTH),
                .DEPTH(DEPTH),
                .SLICE_WIDTH(SLICE_WIDTH)
            ) words (
                .clk(clk),
                .write(enter),
                .write_address(write_address),
                .write_data(s_data),
                .read_address(read_address),
                .read_data(read_data)
            );

            reg [3:0] free;
            reg room;
            reg [1:0] moving;
            wire [3:0] next_free = free + leave - fetch;
            assign fetch = filled && room;
            always @(posedge clk) begin
                free <= next_free;
                room <= next_free != 0;
                moving <= {moving[0], fetch};
                if (rst) begin
                    free <= 8;
                    room <= 0;
                    moving <= 0;
                end
            end

            fifo #(
                .WIDTH(WIDTH),
                .DEPTH(8)
            ) last (
                .clk(clk),
                .rst(rst),
                .s_valid(moving[1]),
                .s_ready(),
                .s_data(read_data),
                .m_valid(m_valid),
                .m_ready(m_ready),
                .m_data(m_data)
            );
        end
    endgenerate
endmodule
