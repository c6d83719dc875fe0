internal import AddressSpace
internal import BootX86
internal import CPU
internal import Devices
internal import Hypervisor
internal import LinuxSys
internal import MachineManager

/// What a microVM is on x86_64: port space, fixed devices, memory map, tables, direct boot.
///
/// Guest physical memory: RAM from 0 to at most 3 GiB and on from 4 GiB; memory devices behind it; power button 0xF0000000; virtio-mmio from 0xF0100000; I/O APIC 0xFEC00000;
/// local APICs 0xFEE00000; KVM's identity page and TSS 0xFEF0C000.
final class X86Platform {
    static let gapStart: UInt64 = 3 << 30
    static let gapEnd: UInt64 = 4 << 30

    let memory: AddressSpace
    let ports = AddressSpace(name: "ports", size: 1 << 16)
    let hypervisor: any VirtualMachine
    let bus: SysBus
    let loop: EventLoop
    private var serial: Serial16550?
    private var powerButton: PowerButton?
    let bootTimer = BootTimer()

    init(memory: AddressSpace, hypervisor: any VirtualMachine, loop: EventLoop) {
        self.memory = memory
        self.hypervisor = hypervisor
        self.loop = loop
        bus = SysBus(memory: memory.root, ports: ports.root, machine: hypervisor)
    }

    /// RAM that consists of mappings of these sizes, one after the other in the guest; what would reach into the gap goes on behind it. The sum of the sizes is
    /// far below 2^64.
    static func ramParts(sizes: [UInt64]) -> [RAMPart] {
        var parts: [RAMPart] = []
        var start: UInt64 = 0
        for (memory, size) in sizes.enumerated() {
            let node = sizes.count > 1 ? "-\(memory)" : ""
            let low = min(size, gapStart - min(start, gapStart))
            if low > 0 { parts.append(RAMPart(name: "ram-below-4g\(node)", base: start, size: low, memory: memory, offset: 0)) }
            if size > low {
                let base = gapEnd + (start + low - gapStart)
                parts.append(RAMPart(name: "ram-above-4g\(node)", base: base, size: size - low, memory: memory, offset: low))
            }
            start += size
        }
        return parts
    }

    /// The APIC id.
    static func hardwareID(of index: Int, in topology: CPUTopology) -> UInt32 { topology.apicID(of: index) }

    /// Keyboard controller, clock and power. `end` is called on a vCPU's thread when the guest turns the machine off or resets it.
    func realizeFixedDevices(end: @escaping @Sendable (ShutdownReason) -> Void) throws(MachineError) {
        let clock = CMOSRTC(line: try line(CMOSRTC.gsi), loop: loop)
        let button = PowerButton(line: try line(PowerButton.gsi))
        let keyboard = I8042(reset: { end(.guestReset) })
        let power = PowerControl(guestShutdown: { end(.guestShutdown) }, guestReset: { end(.guestReset) })
        try place("platform devices") { () throws(AddressSpaceError) in
            try ports.addListener(hypervisor.portListener())
            try keyboard.attach(to: ports.root)
            try power.attach(to: ports.root)
            try clock.attach(to: ports.root)
            try bootTimer.attach(to: ports.root)
            try button.attach(to: memory.root)
        }
        powerButton = button
    }

    /// The serial port and its peer, served from now on. The last thing before vCPUs start: a start that fails must leave no file, socket or raw terminal.
    func startSerial(_ backend: any CharBackend) throws(MachineError) {
        let serial = Serial16550(line: try line(Serial16550.gsi), backend: backend)
        try place("serial port") { () throws(AddressSpaceError) in try serial.attach(to: ports.root) }
        self.serial = serial
        try lift(MachineError.chardev) { () throws(CharBackendError) in try serial.start(on: loop) }
    }

    private func line(_ gsi: UInt32) throws(MachineError) -> any InterruptLine {
        try lift(MachineError.hypervisor) { () throws(HypervisorError) in try hypervisor.makeInterruptLine(gsi: gsi) }
    }

    private func place(_ device: StaticString, _ body: () throws(AddressSpaceError) -> Void) throws(MachineError) {
        try lift({ MachineError.place(device: device, $0) }, body)
    }

    func stop() { serial?.stop() }

    func pressPowerButton() { powerButton?.press() }
}
