// credit: counts the places in the queue behind a pipeline that cannot stop.
//
//   PLACES  of the queue
//
// Timing: `free` of cycle n: fewer than PLACES are taken, counting `take` before cycle n less `give`
// before it. Take only when it is free.
module credit #(
    parameter PLACES = 16
) (
    input clk,
    input rst,
    input take,
    input give,
    output reg free
);

    localparam BITS = $clog2(PLACES + 1);

    reg [BITS-1:0] places;
    wire [BITS-1:0] next = places + give - take;

    always @(posedge clk)
        if (rst) begin
            places <= PLACES;
            free <= 1'b1;
        end else begin
            places <= next;
            free <= next != 0;
        end

endmodule
