// lookup: a function of one int8, element by element, out of a table.
//
//   PE      elements in a beat
//   VALUES  the table: 256 bytes in VALUES_000.hex, for the elements 0..127 and then -128..-1
//   VALUES_WIDTH, VALUES_DEPTH  zeros: the table is made of logic
//
// Timing, in cycles: the result of a beat that is accepted in n is offered from n + 1 on; the next
// beat is accepted no earlier than in the cycle in which this is taken. `s_ready` depends on
// `m_ready` through one gate.
module lookup #(
    parameter PE = 1,
    parameter VALUES = "",
    parameter VALUES_WIDTH = 0,
    parameter VALUES_DEPTH = 0
) (
    input clk,
    input rst,
    input s_valid,
    output s_ready,
    input [PE*8-1:0] s_data,
    output reg m_valid,
    input m_ready,
    output [PE*8-1:0] m_data
);

    assign s_ready = !m_valid || m_ready;

    always @(posedge clk)
        if (rst) m_valid <= 1'b0;
        else if (s_ready) m_valid <= s_valid;

    genvar lane;
    generate
        for (lane = 0; lane < PE; lane = lane + 1) begin : lanes
            (* rom_style = "logic", ram_style = "logic" *)
            reg [7:0] values[0:255];
            reg [7:0] value;

            initial $readmemh({VALUES, "_000.hex"}, values);

            always @(posedge clk) if (s_ready) value <= values[s_data[lane*8+:8]];

            assign m_data[lane*8+:8] = value;
        end
    endgenerate

endmodule
