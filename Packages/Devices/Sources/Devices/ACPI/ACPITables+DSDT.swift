/// Differentiated System Description Table: everything that is found by name rather than by probing.
///
/// No processor devices: the MADT alone is enough for Linux, and without C-states or hot-plug they would say nothing.
extension ACPITables {
    static func dsdt(_ configuration: ACPIConfiguration) -> [UInt8] {
        var system: [UInt8] = []
        if configuration.hasSerial { system += serial() }
        if configuration.hasRTC { system += rtc() }
        for (index, device) in configuration.devices.enumerated() { system += virtio(index, device) }
        if configuration.hasPowerButton { system += powerButton() + genericEventDevice() }

        // Only S5. Element 0 is the SLP_TYP value for the sleep control register (section 7.4.2).
        let softOff = AML.packageObject([AML.integer(UInt64(PowerControl.softOffType)), AML.zero, AML.zero, AML.zero])
        return table("DSDT", revision: 2, AML.scope("_SB", system) + AML.name("_S5", softOff))
    }

    private static func serial() -> [UInt8] {
        AML.device(
            "COM1",
            AML.name("_HID", AML.eisaID("PNP0501")) + AML.name("_UID", AML.zero) + AML.name("_DDN", AML.string("COM1"))
                + AML.name(
                    "_CRS",
                    AML.resourceTemplate([
                        AML.io(Serial16550.portBase, length: UInt8(Serial16550.portCount)), AML.edgeInterrupt(Serial16550.gsi),
                    ])))
    }

    private static func rtc() -> [UInt8] {
        AML.device(
            "RTC0",
            AML.name("_HID", AML.eisaID("PNP0B00")) + AML.name("_UID", AML.zero)
                + AML.name(
                    "_CRS",
                    AML.resourceTemplate([
                        AML.io(CMOSRTC.portBase, length: UInt8(CMOSRTC.portCount)), AML.edgeInterrupt(CMOSRTC.gsi),
                    ])))
    }

    /// _HID LNRO0005 is what Linux's virtio_mmio matches; _CCA says that its DMA is coherent (section 6.2.17).
    private static func virtio(_ index: Int, _ device: ACPIConfiguration.VirtioMMIODevice) -> [UInt8] {
        let digits = hexDigits(UInt64(index & 0xFFF), uppercase: true)
        let name = "V" + String(repeating: "0", count: 3 - digits.utf8.count) + digits
        return AML.device(
            name,
            AML.name("_HID", AML.string("LNRO0005")) + AML.name("_UID", AML.integer(UInt64(index)))
                + AML.name("_CCA", AML.integer(1))
                + AML.name(
                    "_CRS",
                    AML.resourceTemplate([
                        AML.memory32Fixed(
                            UInt32(truncatingIfNeeded: device.base), length: UInt32(truncatingIfNeeded: device.size)),
                        AML.edgeInterrupt(device.gsi),
                    ])))
    }

    /// Control method power button (section 4.8.3.2.2.1).
    private static func powerButton() -> [UInt8] {
        AML.device("PWRB", AML.name("_HID", AML.eisaID("PNP0C0C")) + AML.name("_UID", AML.zero))
    }

    /// Generic Event Device (section 5.6.9): its interrupt runs _EVT, which reads and so clears the event register.
    private static func genericEventDevice() -> [UInt8] {
        let event = AML.method(
            "_EVT", arguments: 1, serialized: true,
            AML.store(AML.path("ESEL"), into: AML.local(0))
                + AML.ifTrue(
                    AML.and(AML.local(0), AML.integer(UInt64(PowerButton.powerDownEvent))), AML.notify("PWRB", 0x80)))
        return AML.device(
            "GED0",
            AML.name("_HID", AML.string("ACPI0013")) + AML.name("_UID", AML.zero)
                + AML.name("_CRS", AML.resourceTemplate([AML.edgeInterrupt(PowerButton.gsi)]))
                + AML.operationRegion("EREG", .systemMemory, offset: PowerButton.registerBase, length: PowerButton.registerSize)
                + AML.dwordField("EREG", [("ESEL", 32)]) + event)
    }
}
