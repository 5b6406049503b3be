// Counts COUNT steps, over and over: `last` says that the next step is the last of them.
module counter #(
    parameter COUNT = 2
) (
    input clk,
    input rst,
    input step,
    output last
);
    generate
        if (COUNT == 1) begin : one
            assign last = 1'b1;
        end else begin : many
            reg [$clog2(COUNT)-1:0] count;
            reg is_last;
            assign last = is_last;
            always @(posedge clk) begin
                if (step) begin
                    count <= is_last ? 0 : count + 1;
                    is_last <= count == COUNT - 2;
                end
                if (rst) begin
                    count <= 0;
                    is_last <= 0;
                end
            end
        end
    endgenerate
endmodule
