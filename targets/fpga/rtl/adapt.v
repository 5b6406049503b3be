// adapt: the same elements in beats of another width; one of IN and OUT divides the other.
//
//   BITS     of one element
//   IN, OUT  elements in a beat of the input and of the output, IN != OUT
//
// Timing, in cycles: the last beat of the input that makes up one or more beats of the output is
// accepted in n; those are offered from n + 1 on, one in a cycle; the first beat of the input that
// belongs to the next ones is accepted no earlier than in the cycle in which the last of these is
// taken. Beats in between never wait, so that the wider side's beats can follow each other every
// OUT / IN or IN / OUT cycles. `s_ready` depends on `m_ready` through one gate.
module adapt #(
    parameter BITS = 8,
    parameter IN = 1,
    parameter OUT = 4
) (
    input clk,
    input rst,
    input s_valid,
    output s_ready,
    input [IN*BITS-1:0] s_data,
    output m_valid,
    input m_ready,
    output [OUT*BITS-1:0] m_data
);

    generate
        if (OUT > IN) begin : widen
            localparam PIECES = OUT / IN;
            localparam COUNT = $clog2(PIECES + 1);

            reg [OUT*BITS-1:0] data;
            reg [COUNT-1:0] missing;  // pieces, 0: `data` is whole

            assign m_valid = missing == 0;
            assign m_data = data;
            assign s_ready = missing != 0 || m_ready;

            always @(posedge clk) begin
                if (s_valid && s_ready) data <= {s_data, data[OUT*BITS-1:IN*BITS]};

                if (rst) missing <= PIECES[COUNT-1:0];
                else if (missing == 0) begin
                    if (m_ready) missing <= PIECES[COUNT-1:0] - {{COUNT - 1{1'b0}}, s_valid};
                end else if (s_valid) missing <= missing - 1'b1;
            end
        end else begin : narrow
            localparam PIECES = IN / OUT;
            localparam COUNT = $clog2(PIECES + 1);

            reg [IN*BITS-1:0] data;
            reg [COUNT-1:0] left;  // pieces in `data`

            assign m_valid = left != 0;
            assign m_data = data[OUT*BITS-1:0];
            assign s_ready = left == 0 || (left == 1 && m_ready);

            always @(posedge clk) begin
                if (s_valid && s_ready) data <= s_data;
                else if (m_ready) data <= {{OUT * BITS{1'b0}}, data[IN*BITS-1:OUT*BITS]};

                if (rst) left <= 0;
                else if (s_valid && s_ready) left <= PIECES[COUNT-1:0];
                else if (m_valid && m_ready) left <= left - 1'b1;
            end
        end
    endgenerate

endmodule
