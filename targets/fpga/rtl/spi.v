// spi: bytes as an SPI slave in mode 0: sampled at the rising edge of sck, highest bit first.
//
// Both sides speak at once; who has nothing to say sends 0xC0, which ends a packet (see
// packet_in), so that any number of them is no packet at all.
//
// Timing: sck is sampled by clk: one period takes 8 clocks or more. `rx_valid` is high for one clock
// at the end of each byte, so at most once in 60 clocks; nothing stalls it. `tx_data` is looked at
// when cs_n falls and after each byte; if `tx_valid` is high then, the byte is taken (`tx_ready` is
// high for one clock) at its first rising edge of sck, not before: a master may stop at any time.
module spi (
    input wire clk,
    input wire rst,
    input wire sck,
    input wire cs_n,
    input wire mosi,
    output wire miso,
    output reg rx_valid,
    output reg [7:0] rx_data,
    input wire tx_valid,
    output reg tx_ready,
    input wire [7:0] tx_data
);

    localparam [7:0] IDLE = 8'hC0;

    // The lines are foreign to the clock: two registers before anything reads them, one for edges.
    reg [2:0] sck_line;
    reg [2:0] cs_line;
    reg [1:0] mosi_line;
    wire selected = !cs_line[1];
    wire begins = cs_line[2] && !cs_line[1];
    wire rises = selected && !sck_line[2] && sck_line[1];
    wire falls = selected && sck_line[2] && !sck_line[1];

    reg [2:0] count;  // rising edges of this byte
    reg [7:0] sent;
    reg offered;  // whether `sent` began as a byte of `tx_data`, not as IDLE

    assign miso = sent[7];

    always @(posedge clk) begin
        sck_line <= {sck_line[1:0], sck};
        cs_line <= {cs_line[1:0], cs_n};
        mosi_line <= {mosi_line[0], mosi};
        rx_valid <= 1'b0;
        tx_ready <= 1'b0;
        if (rises) begin
            rx_data <= {rx_data[6:0], mosi_line[1]};
            rx_valid <= count == 3'd7;
            tx_ready <= offered && count == 3'd0;
            count <= count + 1'b1;
        end
        if (begins || (falls && count == 3'd0)) begin
            sent <= tx_valid ? tx_data : IDLE;
            offered <= tx_valid;
        end else if (falls) begin
            sent <= {sent[6:0], 1'b0};
        end
        if (begins) count <= 3'd0;
        if (rst) begin
            cs_line <= 3'b111;
            rx_valid <= 1'b0;
            tx_ready <= 1'b0;
            count <= 3'd0;
            offered <= 1'b0;
        end
    end

endmodule
