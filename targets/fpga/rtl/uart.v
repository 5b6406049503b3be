// uart: bytes over a serial line: one start bit, eight data bits (lowest first), one stop bit.
//
//   DIVIDER  clocks of one bit, 4 or more
//
// A byte whose stop bit is wrong is dropped: whatever speaks over this link has checksums.
//
// Timing: `rx_valid` is high for one clock, in the middle of the stop bit, so at most once in
// 10 * DIVIDER - 2 clocks; nothing stalls it. A byte to send is taken where `tx_valid` and
// `tx_ready` are high, at most once in 10 * DIVIDER clocks.
module uart #(
    parameter DIVIDER = 100
) (
    input wire clk,
    input wire rst,
    input wire rxd,
    output reg txd,
    output reg rx_valid,
    output reg [7:0] rx_data,
    input wire tx_valid,
    output wire tx_ready,
    input wire [7:0] tx_data
);

    localparam COUNT = $clog2(DIVIDER);
    localparam [31:0] WHOLE = DIVIDER - 1;
    localparam [31:0] HALF = DIVIDER / 2 - 1;

    // Receiver. The line is foreign to the clock: two registers before anything reads it.
    reg [1:0] line;
    reg rx_busy;
    reg [COUNT-1:0] rx_wait;
    reg [3:0] rx_bit;  // 0: start, 1 to 8: data, 9: stop

    always @(posedge clk) begin
        line <= {line[0], rxd};
        rx_valid <= 1'b0;
        if (!rx_busy) begin
            rx_busy <= !line[1];
            rx_wait <= HALF[COUNT-1:0];
            rx_bit <= 4'd0;
        end else if (rx_wait != 0) begin
            rx_wait <= rx_wait - 1'b1;
        end else begin
            rx_wait <= WHOLE[COUNT-1:0];
            rx_bit <= rx_bit + 1'b1;
            if (rx_bit == 4'd0) begin
                rx_busy <= !line[1];  // a glitch is no start bit
            end else if (rx_bit == 4'd9) begin
                rx_busy <= 1'b0;
                rx_valid <= line[1];
            end else begin
                rx_data <= {line[1], rx_data[7:1]};
            end
        end
        if (rst) begin
            line <= 2'b11;
            rx_busy <= 1'b0;
            rx_valid <= 1'b0;
        end
    end

    // Transmitter.
    reg [COUNT-1:0] tx_wait;
    reg [3:0] tx_left;  // bits
    reg [8:0] tx_bits;

    assign tx_ready = tx_left == 0;

    always @(posedge clk) begin
        if (tx_ready) begin
            txd <= 1'b1;
            if (tx_valid) begin
                txd <= 1'b0;
                tx_bits <= {1'b1, tx_data};
                tx_left <= 4'd10;
                tx_wait <= WHOLE[COUNT-1:0];
            end
        end else if (tx_wait != 0) begin
            tx_wait <= tx_wait - 1'b1;
        end else begin
            txd <= tx_bits[0];
            tx_bits <= {1'b1, tx_bits[8:1]};
            tx_left <= tx_left - 1'b1;
            tx_wait <= WHOLE[COUNT-1:0];
        end
        if (rst) begin
            txd <= 1'b1;
            tx_left <= 4'd0;
        end
    end

endmodule
