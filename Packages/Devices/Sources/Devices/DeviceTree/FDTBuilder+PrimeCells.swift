public import FDT

/// The nodes of the PrimeCells, to be written inside the root, whose `interrupt-parent` is the GIC and whose addresses and sizes have two cells.
extension FDTBuilder {
    /// The clock that every PrimeCell asks for, `FDTPhandle.apbClock`: 24 MHz that nobody can change or stop (kernel
    /// Documentation/devicetree/bindings/clock/fixed-clock.yaml).
    public mutating func apbClock() throws(FDTError) {
        try beginNode("apb-pclk")
        try property("compatible", "fixed-clock")
        try property("#clock-cells", cells: [0])
        try property("clock-frequency", cells: [24_000_000])
        try property("clock-output-names", "clk24mhz")
        try property("phandle", cells: [FDTPhandle.apbClock])
        try endNode()
    }

    /// The serial port (kernel Documentation/devicetree/bindings/serial/pl011.yaml); `PL011.devicePath` is where it is.
    public mutating func pl011() throws(FDTError) {
        try primeCell("pl011", "arm,pl011", at: PL011.registerBase, gsi: PL011.gsi, clocks: ["uartclk", "apb_pclk"])
        try endNode()
    }

    /// The clock (kernel Documentation/devicetree/bindings/rtc/arm,pl031.yaml).
    public mutating func pl031() throws(FDTError) {
        try primeCell("pl031", "arm,pl031", at: PL031.registerBase, gsi: PL031.gsi, clocks: ["apb_pclk"])
        try endNode()
    }

    /// The GPIO controller, `FDTPhandle.gpio`, and the power key on it (kernel Documentation/devicetree/bindings/gpio/pl061-gpio.yaml and input/gpio-keys.yaml).
    public mutating func powerKey() throws(FDTError) {
        try primeCell("gpio", "arm,pl061", at: PL061PowerKey.registerBase, gsi: PL061PowerKey.gsi, clocks: ["apb_pclk"])
        try property("gpio-controller")
        try property("#gpio-cells", cells: [2])
        try property("interrupt-controller")
        try property("#interrupt-cells", cells: [2])
        try property("#address-cells", cells: [0])  // interrupts of the pins have no addresses
        try property("phandle", cells: [FDTPhandle.gpio])
        try endNode()

        try beginNode("gpio-keys")
        try property("compatible", "gpio-keys")
        try beginNode("power-key")
        try property("label", "Power")
        try property("linux,code", cells: [116])  // KEY_POWER
        let activeHigh: UInt32 = 0
        try property("gpios", cells: [FDTPhandle.gpio, UInt32(PL061PowerKey.pin), activeHigh])
        try endNode()
        try endNode()
    }

    /// Begins the node of a PrimeCell, with what all of them have.
    private mutating func primeCell(
        _ name: String, _ compatible: String, at base: UInt64, gsi: UInt32, clocks: [String]
    ) throws(FDTError) {
        try beginNode("\(name)@\(String(base, radix: 16))")
        try property("compatible", [compatible, "arm,primecell"])
        try property("reg", doubleCells: [base, PrimeCellIdentity.registerSize])
        try property("interrupts", cells: Self.sharedInterrupt(gsi, .highLevel))
        try property("clocks", cells: clocks.map { _ in FDTPhandle.apbClock })
        try property("clock-names", clocks)
    }
}

extension FDTBuilder {
    enum Trigger: UInt32 { case risingEdge = 1, highLevel = 4 }

    /// Three cells: a shared peripheral interrupt, by its number among these, and how it is triggered (kernel
    /// Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3.yaml).
    static func sharedInterrupt(_ gsi: UInt32, _ trigger: Trigger) -> [UInt32] { [0, gsi, trigger.rawValue] }
}
