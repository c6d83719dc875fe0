/// Fixed ACPI Description Table, revision 6.5 (ACPI 6.5 section 5.2.9), 276 bytes.
extension ACPITables {
    private enum Flag {
        static let wbinvd: UInt64 = 1 << 0
        static let processorC1: UInt64 = 1 << 2
        /// The power button is a control method device, not a fixed register.
        static let controlMethodPowerButton: UInt64 = 1 << 4
        /// There is no fixed sleep button.
        static let noFixedSleepButton: UInt64 = 1 << 5
        /// RTC wake status is not in a fixed register.
        static let noFixedRTC: UInt64 = 1 << 6
        static let resetRegister: UInt64 = 1 << 10
        static let hardwareReduced: UInt64 = 1 << 20
    }

    /// IAPC_BOOT_ARCH, table 5.11.
    private enum BootArchitecture {
        static let legacyDevices: UInt64 = 1 << 0
        static let vgaNotPresent: UInt64 = 1 << 2
        static let cmosRTCNotPresent: UInt64 = 1 << 5
    }

    /// 8042 stays clear in IAPC_BOOT_ARCH although ``I8042`` answers at port 0x64: it can only reset, and Linux then leaves the
    /// keyboard driver alone at once. MSI is not denied: there is no PCI to use it, and denying it makes Linux say so.
    static func fadt(_ configuration: ACPIConfiguration, dsdt: UInt64) -> [UInt8] {
        var body: [UInt8] = []
        func put(_ value: UInt64, _ count: Int) { body += AML.littleEndian(value, count) }
        func skip(to offset: Int) { while body.count + 36 < offset { body.append(0) } }

        skip(to: 40)
        put(dsdt, 4)
        skip(to: 96)
        put(0xFFF, 2)  // P_LVL2_LAT above 100: no C2
        put(0xFFF, 2)  // P_LVL3_LAT above 1000: no C3
        skip(to: 108)
        put(configuration.hasRTC ? UInt64(CMOSRTC.centuryIndex) : 0, 1)
        var boot = BootArchitecture.vgaNotPresent
        if configuration.hasSerial || configuration.hasRTC { boot |= BootArchitecture.legacyDevices }
        if !configuration.hasRTC { boot |= BootArchitecture.cmosRTCNotPresent }
        put(boot, 2)
        skip(to: 112)
        put(
            Flag.wbinvd | Flag.processorC1 | Flag.controlMethodPowerButton | Flag.noFixedSleepButton | Flag.noFixedRTC
                | Flag.resetRegister | Flag.hardwareReduced, 4)
        body += byteRegister(port: PowerControl.resetPort)
        put(UInt64(PowerControl.resetValue), 1)
        skip(to: 131)
        put(5, 1)  // minor version: 6.5
        skip(to: 140)
        put(dsdt, 8)
        skip(to: 244)
        body += byteRegister(port: PowerControl.sleepControlPort)
        body += byteRegister(port: PowerControl.sleepStatusPort)
        put(0, 8)  // hypervisor vendor identity: none claimed
        return table("FACP", revision: 6, body)
    }

    /// Generic Address Structure (section 5.2.3.2): system I/O, 8 bits wide, byte access.
    private static func byteRegister(port: UInt16) -> [UInt8] { [1, 8, 0, 1] + AML.littleEndian(UInt64(port), 8) }
}
