// system: the core, and a link over which a host gives it frames and asks for what it made of them.
//
//   UART, SPI                       1 where there is such a link: one of them or both
//   DIVIDER                         clocks of one bit of the UART
//   ID                              sixteen characters that tell this design from every other
//   IN_LANES, IN_BEATS              of one frame that the core reads; elements of 8 bits
//   OUT_LANES, OUT_BITS, OUT_BEATS  of one frame that it gives; 8 or 16 bits
//   ..._SLICE_WIDTH, ..._SLICE_DEPTH  of the memories of a frame (see frame)
//
// `host` says what is asked for, and how. A reply goes where the last byte came from. `busy` is high
// from the end of a request to the end of its reply.
module system #(
    parameter UART = 1,
    parameter SPI = 0,
    parameter DIVIDER = 100,
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
    input wire rxd,
    output wire txd,
    input wire sck,
    input wire cs_n,
    input wire mosi,
    output wire miso,
    output wire busy
);

    wire [1:0] rx_valid, tx_ready;  // of the UART, of SPI
    wire [7:0] uart_data, spi_data, tx_data;
    wire tx_valid;
    reg by_spi;  // where the last byte came from

    always @(posedge clk) if (!busy && |rx_valid) by_spi <= rx_valid[1];

    generate
        if (UART) begin : with_uart
            uart #(
                .DIVIDER(DIVIDER)
            ) uart (
                .clk(clk),
                .rst(rst),
                .rxd(rxd),
                .txd(txd),
                .rx_valid(rx_valid[0]),
                .rx_data(uart_data),
                .tx_valid(tx_valid && !by_spi),
                .tx_ready(tx_ready[0]),
                .tx_data(tx_data)
            );
        end else begin : without_uart
            assign txd = 1'b1;
            assign rx_valid[0] = 1'b0;
            assign uart_data = 8'd0;
            assign tx_ready[0] = 1'b0;
        end
        if (SPI) begin : with_spi
            spi spi (
                .clk(clk),
                .rst(rst),
                .sck(sck),
                .cs_n(cs_n),
                .mosi(mosi),
                .miso(miso),
                .rx_valid(rx_valid[1]),
                .rx_data(spi_data),
                .tx_valid(tx_valid && by_spi),
                .tx_ready(tx_ready[1]),
                .tx_data(tx_data)
            );
        end else begin : without_spi
            assign miso = 1'b0;
            assign rx_valid[1] = 1'b0;
            assign spi_data = 8'd0;
            assign tx_ready[1] = 1'b0;
        end
    endgenerate

    wire s_valid, s_ready, m_valid;
    wire [IN_LANES*8-1:0] s_data;
    wire [OUT_LANES*OUT_BITS-1:0] m_data;

    host #(
        .ID(ID),
        .IN_LANES(IN_LANES),
        .IN_BEATS(IN_BEATS),
        .IN_SLICE_WIDTH(IN_SLICE_WIDTH),
        .IN_SLICE_DEPTH(IN_SLICE_DEPTH),
        .OUT_LANES(OUT_LANES),
        .OUT_BITS(OUT_BITS),
        .OUT_BEATS(OUT_BEATS),
        .OUT_SLICE_WIDTH(OUT_SLICE_WIDTH),
        .OUT_SLICE_DEPTH(OUT_SLICE_DEPTH)
    ) host (
        .clk(clk),
        .rst(rst),
        .rx_valid(|rx_valid),
        .rx_data(rx_valid[1] ? spi_data : uart_data),
        .tx_valid(tx_valid),
        .tx_ready(by_spi ? tx_ready[1] : tx_ready[0]),
        .tx_data(tx_data),
        .s_valid(s_valid),
        .s_ready(s_ready),
        .s_data(s_data),
        .m_valid(m_valid),
        .m_data(m_data),
        .busy(busy)
    );

    core core (
        .clk(clk),
        .rst(rst),
        .s_valid(s_valid),
        .s_ready(s_ready),
        .s_data(s_data),
        .m_valid(m_valid),
        .m_ready(1'b1),
        .m_data(m_data)
    );

endmodule
