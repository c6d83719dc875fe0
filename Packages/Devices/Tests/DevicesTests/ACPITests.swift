import Foundation
import Testing

@testable import Devices

/// Runs iasl (Debian's acpica-tools); a missing tool is a failure, not a skip.
func iasl(_ arguments: [String], in directory: URL) throws -> (status: Int32, output: String) {
    let path = try #require(
        ["/usr/bin/iasl", "/usr/local/bin/iasl"].first { FileManager.default.isExecutableFile(atPath: $0) },
        "iasl is needed: install acpica-tools")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.currentDirectoryURL = directory
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
}

func withTemporaryDirectory<R>(_ body: (URL) throws -> R) throws -> R {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("acpi-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    return try body(directory)
}

func configuration(cpus: Int, devices: Int) -> ACPIConfiguration {
    ACPIConfiguration(
        apicIDs: (0..<cpus).map { UInt32($0) },
        devices: (0..<devices).map { .init(base: 0xF010_0000 + UInt64($0) * 0x200, gsi: 5 + UInt32($0 % 11)) })
}

private func word(_ bytes: [UInt8], _ offset: Int, _ count: Int = 4) -> UInt64 {
    (0..<count).reduce(0) { $0 | UInt64(bytes[offset + $1]) << (8 * UInt64($1)) }
}

/// The tables in an image, found as a guest finds them: RSDP, XSDT, and the DSDT through the FADT.
func tables(_ image: [UInt8], base: UInt64 = 0xE0000) throws -> [String: [UInt8]] {
    #expect(Array(image[0..<8]) == Array("RSD PTR ".utf8))
    func table(_ address: UInt64) throws -> [UInt8] {
        let offset = Int(address - base)
        try #require(address % 16 == 0 && offset + 36 <= image.count)
        let length = Int(word(image, offset + 4))
        try #require(offset + length <= image.count)
        return Array(image[offset..<offset + length])
    }
    let xsdt = try table(word(image, 24, 8))
    var found = ["XSDT": xsdt]
    for entry in stride(from: 36, to: xsdt.count, by: 8) {
        let bytes = try table(word(xsdt, entry, 8))
        found[String(decoding: bytes[0..<4], as: UTF8.self)] = bytes
    }
    let fadt = try #require(found["FACP"])
    found["DSDT"] = try table(word(fadt, 140, 8))
    #expect(word(fadt, 40) == word(fadt, 140, 8))
    return found
}

@Suite struct ACPITests {
    @Test func build_anyConfiguration_checksumsAreRight() throws {
        for cpus in [1, 2, 8, 254] {
            let image = try ACPITables.build(configuration(cpus: cpus, devices: 11))
            #expect(image[0..<20].reduce(0, &+) == 0)
            #expect(image[0..<36].reduce(0, &+) == 0)
            for (name, table) in try tables(image) {
                #expect(table.reduce(0, &+) == 0, "\(name)")
                #expect(Array(table[10..<16]) == Array("STRATO".utf8), "\(name)")
            }
        }
    }

    @Test(arguments: [(1, 0), (1, 1), (2, 11), (254, 300)])
    func tables_throughIASL_recompileToTheSameBytes(_ cpus: Int, _ devices: Int) throws {
        let image = try ACPITables.build(configuration(cpus: cpus, devices: devices))
        try withTemporaryDirectory { directory in
            for (name, bytes) in try tables(image) {
                let file = directory.appendingPathComponent("\(name).aml")
                try Data(bytes).write(to: file)
                let disassembly = try iasl(["-d", file.lastPathComponent], in: directory)
                #expect(disassembly.status == 0, "\(disassembly.output)")
                #expect(!disassembly.output.contains("Warning") && !disassembly.output.contains("rror:"), "\(disassembly.output)")

                let compilation = try iasl(["-p", "again-\(name)", "\(name).dsl"], in: directory)
                #expect(compilation.status == 0, "\(compilation.output)")
                if name == "DSDT" {
                    #expect(compilation.output.contains("0 Errors, 0 Warnings, 0 Remarks"), "\(compilation.output)")
                }
                let again = [UInt8](try Data(contentsOf: directory.appendingPathComponent("again-\(name).aml")))
                // The compiler puts its own creator into the header.
                #expect(again.dropFirst(36).elementsEqual(bytes.dropFirst(36)), "\(name)")
            }
        }
    }

    @Test func dsdt_disassembled_saysWhatTheMachineHas() throws {
        let image = try ACPITables.build(configuration(cpus: 2, devices: 2))
        try withTemporaryDirectory { directory in
            try Data(try #require(try tables(image)["DSDT"])).write(to: directory.appendingPathComponent("DSDT.aml"))
            _ = try iasl(["-d", "DSDT.aml"], in: directory)
            let text = try String(contentsOf: directory.appendingPathComponent("DSDT.dsl"), encoding: .utf8)
            for expected in [
                "DefinitionBlock (\"\", \"DSDT\", 2, \"STRATO\"", "EisaId (\"PNP0501\")", "EisaId (\"PNP0B00\")",
                "EisaId (\"PNP0C0C\")", "\"ACPI0013\"", "\"LNRO0005\"", "Name (_CCA, One)", "Memory32Fixed (ReadWrite,",
                "0xF0100000,", "0xF0100200,", "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive",
                "Method (_EVT, 1, Serialized)", "Notify (PWRB, 0x80)",
                "OperationRegion (EREG, SystemMemory, 0xF0000000, 0x04)", "Field (EREG, DWordAcc, NoLock, WriteAsZeros)",
                "Name (_S5,",
            ] { #expect(text.contains(expected), "\(expected)") }
            #expect(text.components(separatedBy: "\"LNRO0005\"").count == 3)
        }
    }

    /// Interrupts that are no ISA ones: only the extended descriptor can name them, and nothing else says that they are edges.
    @Test func dsdt_devicesBeyondTheISAInterrupts_haveExtendedEdgeInterrupts() throws {
        let gsis = SysBus.defaultInterrupts
        let devices = gsis.enumerated().map { ACPIConfiguration.VirtioMMIODevice(base: 0xF010_0000 + UInt64($0) * 0x200, gsi: $1) }
        let image = try ACPITables.build(ACPIConfiguration(apicIDs: [0], devices: devices))
        let dsdt = try #require(try tables(image)["DSDT"])
        for gsi in gsis {
            // Section 6.4.3.6: consumer, edge, active high, exclusive, one interrupt.
            let descriptor: [UInt8] = [0x89, 0x06, 0x00, 0x03, 0x01, UInt8(gsi), 0, 0, 0]
            #expect(dsdt.indices.count { dsdt[$0...].starts(with: descriptor) } == 1, "\(gsi)")
        }
        try withTemporaryDirectory { directory in
            try Data(dsdt).write(to: directory.appendingPathComponent("DSDT.aml"))
            _ = try iasl(["-d", "DSDT.aml"], in: directory)
            let text = try String(contentsOf: directory.appendingPathComponent("DSDT.dsl"), encoding: .utf8)
            for gsi in 17...23 { #expect(text.contains("0x000000\(String(gsi, radix: 16, uppercase: true)),"), "\(gsi)") }
            #expect(!text.contains("Level,"))
        }
    }

    @Test func fadt_fields_areHardwareReduced() throws {
        let image = try ACPITables.build(configuration(cpus: 1, devices: 1))
        let fadt = try #require(try tables(image)["FACP"])
        #expect(fadt.count == 276)
        #expect(fadt[8] == 6 && fadt[131] == 5)
        let flags = word(fadt, 112)
        #expect(flags & (1 << 20) != 0, "HW_REDUCED_ACPI")
        #expect(flags & (1 << 10) != 0, "RESET_REG_SUP")
        #expect(flags & (1 << 4) != 0, "control method power button")
        #expect(fadt[108] == 0x32)
        #expect(word(fadt, 109, 2) == 0x05, "legacy devices, no VGA; no 8042; CMOS RTC present")
        #expect(Array(fadt[116..<129]) == [1, 8, 0, 1, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0, 6])
        #expect(Array(fadt[244..<256]) == [1, 8, 0, 1, 0xE9, 0x0C, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[256..<268]) == [1, 8, 0, 1, 0xEA, 0x0C, 0, 0, 0, 0, 0, 0])
    }

    @Test func fadt_withoutRTC_saysSo() throws {
        var configuration = configuration(cpus: 1, devices: 0)
        configuration.hasRTC = false
        configuration.hasSerial = false
        configuration.hasPowerButton = false
        let found = try tables(try ACPITables.build(configuration))
        let fadt = try #require(found["FACP"])
        #expect(fadt[108] == 0)
        #expect(word(fadt, 109, 2) == 0x24)
        let dsdt = try #require(found["DSDT"])
        #expect(dsdt.count < 80)
    }

    @Test func madt_254CPUs_hasEachLAPICAndOneIOAPIC() throws {
        let madt = try #require(try tables(try ACPITables.build(configuration(cpus: 254, devices: 0)))["APIC"])
        #expect(word(madt, 36) == 0xFEE0_0000)
        #expect(word(madt, 40) == 0, "no PCAT_COMPAT")
        var offset = 44
        var ids: [UInt8] = []
        var ioapics = 0
        while offset < madt.count {
            switch madt[offset] {
            case 0:
                ids.append(madt[offset + 3])
                #expect(word(madt, offset + 4) == 1)
            case 1:
                ioapics += 1
                #expect(madt[offset + 2] == 255)
                #expect(word(madt, offset + 4) == 0xFEC0_0000 && word(madt, offset + 8) == 0)
            case 4: #expect(Array(madt[offset..<offset + 6]) == [4, 6, 0xFF, 0, 0, 1])
            default: Issue.record("unexpected entry \(madt[offset])")
            }
            offset += Int(madt[offset + 1])
        }
        #expect(ids == Array(0..<254))
        #expect(ioapics == 1)
    }

    @Test func build_badConfiguration_throws() {
        #expect(throws: ACPIError.cpuCountOutOfRange(0)) { try ACPITables.build(configuration(cpus: 0, devices: 0)) }
        #expect(throws: ACPIError.cpuCountOutOfRange(255)) { try ACPITables.build(configuration(cpus: 255, devices: 0)) }
        var far = configuration(cpus: 1, devices: 1)
        far.devices.append(.init(base: .max, gsi: 5))
        #expect(throws: ACPIError.deviceAbove4GiB(index: 1)) { try ACPITables.build(far) }
        var odd = configuration(cpus: 1, devices: 0)
        odd.baseAddress = 0xE0008
        #expect(throws: ACPIError.baseAddressInvalid(0xE0008)) { try ACPITables.build(odd) }
        #expect(throws: ACPIError.self) { try ACPITables.build(configuration(cpus: 1, devices: 3000)) }
    }

    @Test func integer_eachWidth_isTheShortest() {
        #expect(AML.integer(0) == [0])
        #expect(AML.integer(1) == [1])
        #expect(AML.integer(0xFF) == [0x0A, 0xFF])
        #expect(AML.integer(0x100) == [0x0B, 0x00, 0x01])
        #expect(AML.integer(0x1_0000) == [0x0C, 0, 0, 1, 0])
        #expect(AML.integer(0x1_0000_0000) == [0x0E, 0, 0, 0, 0, 1, 0, 0, 0])
        #expect(AML.eisaID("PNP0C0C") == [0x0C, 0x41, 0xD0, 0x0C, 0x0C])
        #expect(AML.path("\\_SB.PWRB") == [0x5C, 0x2E] + Array("_SB_PWRB".utf8))
    }

    @Test func packageLength_atEachBorder_countsItself() {
        // 63 is the largest one-byte length, 4095 the largest of two bytes.
        #expect(AML.scope("A", [UInt8](repeating: 0, count: 58))[1] == 63)
        #expect(Array(AML.scope("A", [UInt8](repeating: 0, count: 59))[1...2]) == [0x41, 0x04])
        #expect(Array(AML.scope("A", [UInt8](repeating: 0, count: 4089))[1...2]) == [0x4F, 0xFF])
        #expect(Array(AML.scope("A", [UInt8](repeating: 0, count: 4090))[1...3]) == [0x81, 0x00, 0x01])
    }
}
