import AddressSpace
import FDT
import Foundation
import Hypervisor
import HypervisorTesting
import Testing

@testable import Devices

/// The nodes as dtc reads them.
@Suite struct DeviceTreeTests {
    /// The lines inside the root, without its own properties; also that dtc warns of nothing.
    private func lines(_ body: (inout FDTBuilder) throws(FDTError) -> Void) throws -> [String] {
        var tree = try FDTBuilder()
        try tree.node("") { (root) throws(FDTError) in
            try root.property("#address-cells", cells: [2])
            try root.property("#size-cells", cells: [2])
            try root.property("interrupt-parent", cells: [FDTPhandle.gic])
            try body(&root)
        }
        let dtc = Process()
        dtc.executableURL = URL(fileURLWithPath: "/usr/bin/dtc")
        try #require(FileManager.default.isExecutableFile(atPath: "/usr/bin/dtc"), "dtc is needed: install device-tree-compiler")
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("devices-\(UUID().uuidString).dtb")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(try tree.finish()).write(to: file)
        dtc.arguments = ["-I", "dtb", "-O", "dts", file.path]
        let (output, warnings) = (Pipe(), Pipe())
        (dtc.standardOutput, dtc.standardError) = (output, warnings)
        try dtc.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(String(decoding: warnings.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) == "")
        dtc.waitUntilExit()
        try #require(dtc.terminationStatus == 0)
        let lines = text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        return Array(lines.dropFirst(5).dropLast())
    }

    private let layout = GICLayout(
        distributor: 0x0800_0000, cpuInterface: 0x0801_0000, its: 0x0808_0000, redistributors: [.init(base: 0x080A_0000, count: 123)],
        lines: 256)

    @Test func everything_readsBack() throws {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let bus = SysBus(
            memory: memory.root, ports: nil, machine: TestVirtualMachine(interruptLines: 224), interrupts: SysBus.aarch64Interrupts,
            window: SysBus.aarch64Window)
        _ = try bus.allocate(name: "disk")
        let slot = try bus.allocate(name: "net")
        let text = try lines { (tree) throws(FDTError) in
            try tree.gic(.v3(hasITS: true), layout)
            try tree.apbClock()
            try tree.pl011()
            try tree.pl031()
            try tree.powerKey()
            try tree.virtioMMIO(slot)
        }
        #expect(
            text == [
                "intc@8000000 {", "#interrupt-cells = <0x03>;", "interrupt-controller;", "phandle = <0x01>;", "compatible = \"arm,gic-v3\";",
                "#address-cells = <0x02>;", "#size-cells = <0x02>;", "ranges;",
                "reg = <0x00 0x8000000 0x00 0x10000 0x00 0x80a0000 0x00 0xf60000>;",
                "its@8080000 {", "compatible = \"arm,gic-v3-its\";", "msi-controller;", "#msi-cells = <0x01>;",
                "reg = <0x00 0x8080000 0x00 0x20000>;", "phandle = <0x02>;", "};", "};",
                "apb-pclk {", "compatible = \"fixed-clock\";", "#clock-cells = <0x00>;", "clock-frequency = <0x16e3600>;",
                "clock-output-names = \"clk24mhz\";", "phandle = <0x03>;", "};",
                "pl011@9000000 {", "compatible = \"arm,pl011\\0arm,primecell\";", "reg = <0x00 0x9000000 0x00 0x1000>;",
                "interrupts = <0x00 0x01 0x04>;", "clocks = <0x03 0x03>;", "clock-names = \"uartclk\\0apb_pclk\";", "};",
                "pl031@9010000 {", "compatible = \"arm,pl031\\0arm,primecell\";", "reg = <0x00 0x9010000 0x00 0x1000>;",
                "interrupts = <0x00 0x02 0x04>;", "clocks = <0x03>;", "clock-names = \"apb_pclk\";", "};",
                "gpio@9030000 {", "compatible = \"arm,pl061\\0arm,primecell\";", "reg = <0x00 0x9030000 0x00 0x1000>;",
                "interrupts = <0x00 0x07 0x04>;", "clocks = <0x03>;", "clock-names = \"apb_pclk\";", "gpio-controller;",
                "#gpio-cells = <0x02>;", "interrupt-controller;", "#interrupt-cells = <0x02>;", "#address-cells = <0x00>;",
                "phandle = <0x04>;", "};",
                "gpio-keys {", "compatible = \"gpio-keys\";", "power-key {", "label = \"Power\";", "linux,code = <0x74>;",
                "gpios = <0x04 0x03 0x00>;", "};", "};",
                "virtio_mmio@a000200 {", "compatible = \"virtio,mmio\";", "reg = <0x00 0xa000200 0x00 0x200>;",
                "interrupts = <0x00 0x21 0x01>;", "dma-coherent;", "};",
            ])
    }

    @Test func gicV3_withMoreRedistributors_andWithoutITS() throws {
        var large = layout
        large.redistributors.append(.init(base: 256 << 30, count: 400))
        let text = try lines { (tree) throws(FDTError) in try tree.gic(.v3(hasITS: false), large) }
        #expect(
            text == [
                "intc@8000000 {", "#interrupt-cells = <0x03>;", "interrupt-controller;", "phandle = <0x01>;", "compatible = \"arm,gic-v3\";",
                "#address-cells = <0x02>;", "#size-cells = <0x02>;", "ranges;", "#redistributor-regions = <0x02>;",
                "reg = <0x00 0x8000000 0x00 0x10000 0x00 0x80a0000 0x00 0xf60000 0x40 0x00 0x00 0x3200000>;", "};",
            ])
    }

    @Test func gicV2_hasItsCPUInterface() throws {
        let text = try lines { (tree) throws(FDTError) in try tree.gic(.v2, layout) }
        #expect(
            text == [
                "intc@8000000 {", "#interrupt-cells = <0x03>;", "interrupt-controller;", "phandle = <0x01>;",
                "compatible = \"arm,cortex-a15-gic\";", "#address-cells = <0x00>;",
                "reg = <0x00 0x8000000 0x00 0x1000 0x00 0x8010000 0x00 0x2000>;", "};",
            ])
    }

    @Test func devicePath_isTheNodes() throws {
        let text = try lines { (tree) throws(FDTError) in
            try tree.gic(.v2, layout)
            try tree.apbClock()
            try tree.pl011()
        }
        #expect(text.contains(PL011.devicePath.dropFirst() + " {"))
    }
}
