/// Multiple APIC Description Table (ACPI 6.5 section 5.2.12).
extension ACPITables {
    /// One local APIC a vCPU, the I/O APIC with GSI base 0, and NMI on LINT1 of every CPU.
    ///
    /// No interrupt source overrides: ISA IRQ n is GSI n, edge triggered, active high, which is what their absence means.
    /// PCAT_COMPAT is clear, as hardware-reduced ACPI has no 8259 (section 4.1): Linux then installs no legacy interrupts, so
    /// every device must name its GSI in the DSDT.
    static func madt(_ configuration: ACPIConfiguration) -> [UInt8] {
        var body = AML.littleEndian(0xFEE0_0000, 4) + AML.littleEndian(0, 4)
        for (index, apicID) in configuration.apicIDs.enumerated() {
            body += [0, 8, UInt8(truncatingIfNeeded: index), UInt8(truncatingIfNeeded: apicID)] + AML.littleEndian(1, 4)  // enabled
        }
        // The same id as in the MP table, so that a kernel reading both sees one I/O APIC.
        let usual = UInt32(truncatingIfNeeded: configuration.apicIDs.count + 1)
        let isTaken = configuration.apicIDs.contains(usual)
        let ioapicID = UInt8(truncatingIfNeeded: isTaken ? (configuration.apicIDs.max() ?? 0) &+ 1 : usual)
        body += [1, 12, ioapicID, 0] + AML.littleEndian(0xFEC0_0000, 4) + AML.littleEndian(0, 4)
        body += [4, 6, 0xFF, 0, 0, 1]
        return table("APIC", revision: 5, body)
    }
}
