// adapt: the same elements in beats of another width; one of IN and OUT divides the other.
//
//   BITS     of one element
//   IN, OUT  elements in a beat of the input and of the output, IN != OUT
//
// Timing, in clock edges: the last beat of the input that makes up one or more beats of the output
// moves in at t; those can be taken at t + 1 and later, one at each edge; the first beat of the
// input that belongs to the next ones moves in no earlier than the last of these is taken, at that
// same edge if it is there. Beats in between never wait, so the wider side's beats can follow each
// other every OUT / IN or IN / OUT edges. `s_ready` depends on `m_ready` through one gate.
module adapt #(
    parameter BITS = 8,
    parameter IN = 1,
    parameter OUT = 4
) (
    input wire clk,
    input wire rst,
    input wire s_valid,
    output wire s_ready,
    input wire [IN*BITS-1:0] s_data,
    output wire m_valid,
    input wire m_ready,
    output wire [OUT*BITS-1:0] m_data
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
