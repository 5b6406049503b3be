// packet_out: payloads to packets, framed as packet_in takes them.
//
// Timing: bytes are taken where `s_valid` and `s_ready` are high, and given where `tx_valid` and
// `tx_ready` are; `tx_data` stays until it is taken. A byte that was taken at t is given from t + 9
// at the latest, so a link of 10 clocks to the byte never waits for it. `s_last` marks the last byte
// of a payload; its checksum follows by itself.
module packet_out (
    input wire clk,
    input wire rst,
    input wire s_valid,
    output wire s_ready,
    input wire [7:0] s_data,
    input wire s_last,
    output reg tx_valid,
    input wire tx_ready,
    output reg [7:0] tx_data,
    output wire busy
);

    localparam [7:0] END = 8'hC0;
    localparam [7:0] ESCAPE = 8'hDB;

    localparam [1:0] IDLE = 2'd0;
    localparam [1:0] PAYLOAD = 2'd1;
    localparam [1:0] CHECKSUM = 2'd2;
    localparam [1:0] CLOSING = 2'd3;

    reg [1:0] state;
    reg [1:0] position;  // in the checksum
    reg held;  // `value` waits for its turn
    reg [7:0] value;
    reg escaping;  // ESCAPE went out for it
    wire summing;
    wire [31:0] sum;
    wire [31:0] shifted = ~sum >> {position, 3'd0};

    wire free = !tx_valid || tx_ready;
    wire special = value == END || value == ESCAPE;

    assign s_ready = state == PAYLOAD && !held && !summing;
    assign busy = state != IDLE || tx_valid;

    crc32 check (
        .clk(clk),
        .clear(rst || state == IDLE),
        .valid(s_valid && s_ready),
        .data(s_data),
        .busy(summing),
        .value(sum)
    );

    always @(posedge clk) begin
        if (tx_ready) tx_valid <= 1'b0;

        if (held && free) begin
            tx_valid <= 1'b1;
            tx_data <= value;
            held <= 1'b0;
            escaping <= 1'b0;
            if (special && !escaping) begin
                tx_data <= ESCAPE;
                held <= 1'b1;
                escaping <= 1'b1;
            end else if (escaping) begin
                tx_data <= value == END ? 8'hDC : 8'hDD;
            end
        end

        case (state)
            IDLE:
            if (s_valid && free) begin
                tx_valid <= 1'b1;
                tx_data <= END;
                state <= PAYLOAD;
            end
            PAYLOAD:
            if (s_valid && s_ready) begin
                value <= s_data;
                held <= 1'b1;
                position <= 2'd0;
                if (s_last) state <= CHECKSUM;
            end
            CHECKSUM:
            if (!held && !summing) begin
                value <= shifted[7:0];
                held <= 1'b1;
                position <= position + 1'b1;
                if (position == 2'd3) state <= CLOSING;
            end
            CLOSING:
            if (!held && free) begin
                tx_valid <= 1'b1;
                tx_data <= END;
                state <= IDLE;
            end
        endcase

        if (rst) begin
            state <= IDLE;
            tx_valid <= 1'b0;
            held <= 1'b0;
            escaping <= 1'b0;
        end
    end

endmodule
