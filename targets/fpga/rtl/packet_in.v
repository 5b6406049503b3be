// packet_in: packets out of a stream of bytes, as RFC 1055 (SLIP) frames them, with a checksum.
//
// A packet is a payload and its CRC-32, lowest byte first; 0xC0 stands before and after it, 0xDB 0xDC
// for 0xC0 in it, and 0xDB 0xDD for 0xDB. Whatever was lost, the next 0xC0 ends it: the packet after
// is whole again. Nothing between two of 0xC0 is no packet.
//
// Timing: bytes come with `rx_valid`, 10 clocks or more apart, and are never stalled. Those of a
// packet, its checksum among them, go out with `m_valid`, the first with `m_first`; after them
// `m_end` is high for one clock, and `m_good` with it if the checksum is right.
module packet_in (
    input wire clk,
    input wire rst,
    input wire rx_valid,
    input wire [7:0] rx_data,
    output reg m_valid,
    output reg m_first,
    output reg [7:0] m_data,
    output reg m_end,
    output reg m_good
);

    localparam [7:0] END = 8'hC0;
    localparam [7:0] ESCAPE = 8'hDB;

    reg begun;  // whether the packet has a byte already
    reg escaped;
    reg broken;  // an escape that is none
    wire [31:0] sum;

    wire ends = rx_valid && rx_data == END;
    wire escapes = rx_valid && rx_data == ESCAPE && !escaped;
    wire carries = rx_valid && !ends && !escapes;

    crc32 check (
        .clk(clk),
        .clear(rst || m_end),
        .valid(m_valid),
        .data(m_data),
        .busy(),
        .value(sum)
    );

    always @(posedge clk) begin
        m_valid <= carries;
        m_first <= carries && !begun;
        if (rx_valid) begin
            m_data <= !escaped ? rx_data : rx_data == 8'hDC ? END : ESCAPE;
            escaped <= escapes;
        end
        m_end <= ends && begun;
        m_good <= ends && begun && !broken && !escaped && sum == 32'hDEBB20E3;
        if (ends) begin
            begun <= 1'b0;
            broken <= 1'b0;
        end else if (carries) begin
            begun <= 1'b1;
            if (escaped && rx_data != 8'hDC && rx_data != 8'hDD) broken <= 1'b1;
        end
        if (rst) begin
            m_valid <= 1'b0;
            m_end <= 1'b0;
            begun <= 1'b0;
            escaped <= 1'b0;
            broken <= 1'b0;
        end
    end

endmodule
