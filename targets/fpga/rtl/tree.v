// The sum of N signed numbers, one level of additions a cycle: sum.
//
// BITS: of a number; the sum has $clog2(N) more.
//
// Timing: the numbers of cycle n give the sum of cycle n + $clog2(N).
module tree #(
    parameter N = 2,
    parameter BITS = 16
) (
    input clk,
    input [N*BITS-1:0] numbers,
    output [BITS+$clog2(N)-1:0] sum
);
    generate
        if (N == 1) begin : leaf
            assign sum = numbers;
        end else begin : level
            localparam HALF = (N + 1) / 2;
            reg [HALF*(BITS+1)-1:0] sums;
            genvar i;
            for (i = 0; i < HALF; i = i + 1) begin : pairs
                wire signed [BITS-1:0] left = numbers[2*i*BITS+:BITS];
                if (2 * i + 1 < N) begin : two
                    wire signed [BITS-1:0] right = numbers[(2*i+1)*BITS+:BITS];
                    always @(posedge clk) sums[i*(BITS+1)+:BITS+1] <= left + right;
                end else begin : one
                    always @(posedge clk) sums[i*(BITS+1)+:BITS+1] <= left;
                end
            end
            tree #(
                .N(HALF),
                .BITS(BITS + 1)
            ) rest (
                .clk(clk),
                .numbers(sums),
                .sum(sum)
            );
        end
    endgenerate
endmodule
