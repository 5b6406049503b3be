// pll: the board's clock, multiplied: out = in * MULTIPLY / (DIVIDE * OUT).
//
//   DIVIDE    of the input, before phases are compared
//   MULTIPLY  of the oscillator inside (on ECP5 of the output)
//   OUT       of the oscillator's frequency (no part of the formula on ECP5); on iCE40 a power of 2
//   FILTER    on iCE40: the loop filter for the frequency where phases are compared
//   PERIOD    on AMD's: picoseconds of one cycle of `in`
//
// `locked` is high while the frequency stands. In simulation `out` is `in`: time is told in cycles.
// `in_n` is the other half of a differential pair, where DIFFERENTIAL is 1.
module pll #(
    parameter DIVIDE = 1,
    parameter MULTIPLY = 4,
    parameter OUT = 6,
    parameter FILTER = 1,
    parameter PERIOD = 10000,
    parameter DIFFERENTIAL = 0
) (
    input wire in,
    input wire in_n,
    output wire out,
    output wire locked
);

`ifdef TAPEOUT_ECP5
    (* ICP_CURRENT = "12", LPF_RESISTOR = "8", MFG_ENABLE_FILTEROPAMP = "1", MFG_GMCREF_SEL = "2" *)
    EHXPLLL #(
        .PLLRST_ENA("DISABLED"),
        .INTFB_WAKE("DISABLED"),
        .STDBY_ENABLE("DISABLED"),
        .DPHASE_SOURCE("DISABLED"),
        .OUTDIVIDER_MUXA("DIVA"),
        .OUTDIVIDER_MUXB("DIVB"),
        .OUTDIVIDER_MUXC("DIVC"),
        .OUTDIVIDER_MUXD("DIVD"),
        .CLKI_DIV(DIVIDE),
        .CLKFB_DIV(MULTIPLY),
        .CLKOP_ENABLE("ENABLED"),
        .CLKOP_DIV(OUT),
        .CLKOP_CPHASE(OUT / 2),
        .CLKOP_FPHASE(0),
        .FEEDBK_PATH("CLKOP")
    ) block (
        .CLKI(in),
        .CLKFB(out),
        .CLKOP(out),
        .LOCK(locked),
        .RST(1'b0), .STDBY(1'b0), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0),
        .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1), .PHASESTEP(1'b1), .PHASELOADREG(1'b1)
    );
`elsif TAPEOUT_ICE40
    SB_PLL40_PAD #(
        .FEEDBACK_PATH("SIMPLE"),
        .DIVR(DIVIDE - 1),
        .DIVF(MULTIPLY - 1),
        .DIVQ($clog2(OUT)),
        .FILTER_RANGE(FILTER)
    ) block (
        .PACKAGEPIN(in),
        .PLLOUTGLOBAL(out),
        .LOCK(locked),
        .RESETB(1'b1),
        .BYPASS(1'b0)
    );
`elsif TAPEOUT_AMD
    wire clock, feedback, made;
    generate
        if (DIFFERENTIAL) begin : pair
            IBUFDS pin (.I(in), .IB(in_n), .O(clock));
        end else begin : single
            assign clock = in;
        end
    endgenerate
`ifdef TAPEOUT_XCUP
    MMCME4_BASE
`else
    MMCME2_BASE
`endif
    #(
        .CLKIN1_PERIOD(PERIOD / 1000.0),
        .DIVCLK_DIVIDE(DIVIDE),
        .CLKFBOUT_MULT_F(MULTIPLY),
        .CLKOUT0_DIVIDE_F(OUT)
    ) block (
        .CLKIN1(clock),
        .CLKFBIN(feedback),
        .CLKFBOUT(feedback),
        .CLKOUT0(made),
        .LOCKED(locked),
        .PWRDWN(1'b0),
        .RST(1'b0)
    );
    BUFG buffer (.I(made), .O(out));
`else
    assign out = in;
    assign locked = 1'b1;
`endif
endmodule
