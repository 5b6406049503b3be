// crc32: the checksum of IEEE 802.3 (the one of zlib), one bit at each clock.
//
// `value` is the register: the checksum is its complement. After the bytes of a message and its
// checksum, lowest byte first, it is 0xDEBB20E3.
//
// Timing: a byte with `valid` at clock edge t is in `value` after t + 8; the next one comes no
// earlier than t + 9. `clear` starts anew.
module crc32 (
    input wire clk,
    input wire clear,
    input wire valid,
    input wire [7:0] data,
    output wire busy,
    output reg [31:0] value
);

    reg [3:0] left;  // bits

    assign busy = left != 0;

    always @(posedge clk) begin
        if (clear) begin
            value <= 32'hFFFFFFFF;
            left <= 4'd0;
        end else if (busy) begin
            value <= {1'b0, value[31:1]} ^ (value[0] ? 32'hEDB88320 : 32'd0);
            left <= left - 1'b1;
        end else if (valid) begin
            value[7:0] <= value[7:0] ^ data;
            left <= 4'd8;
        end
    end

endmodule
