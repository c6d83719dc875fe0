import AddressSpace
import CPU
import Devices
import Hypervisor
import LinuxSys
import Virtio

/// Exits as KVM brings them: a guest of a few instructions, its vCPU's thread, the address space, the device; the machine's loop does what the exits ask it for.
/// For x86_64; elsewhere there are none.
func exitOperations() throws -> [Operation] {
    let kvm = try KVM.open().createVirtualMachine()
    try kvm.createIRQChip()
    let machine = try GuestMachine(kvm)
    let disk = try GuestDriver(machine, "disk", VirtioBlock(storage: nil))
    let serial = Serial16550(line: try kvm.makeInterruptLine(gsi: Serial16550.gsi), backend: try FileBackend(path: "/dev/null"))
    try serial.attach(to: machine.ports.root)
    try serial.start(on: machine.loop)
    guard let guest = try ExitingGuest(machine, kvm) else { return [] }
    let port = UInt64(Serial16550.portBase), status = disk.address(0x70)
    let accesses: [(String, [UInt8], UInt64)] = [
        ("port in: the serial port's status", ExitingGuest.portIn, port + 5), ("port out: a byte for the serial port", ExitingGuest.portOut, port),
        ("port in: nothing is there", ExitingGuest.portIn, 0x80),
        ("MMIO read: interrupt status, no lock", ExitingGuest.load, disk.address(0x60)), ("MMIO read: device status, its lock", ExitingGuest.load, status),
        ("MMIO write: acknowledge an interrupt", ExitingGuest.store, disk.address(0x64)), ("MMIO read: nothing is there", ExitingGuest.load, 0xfee1_0000),
        ("MMIO write: notify a queue, ioeventfd", ExitingGuest.store, disk.address(0x50)),
    ]
    return accesses.map { name, access, address in
        Operation("exit", name) { rounds, measurement in
            try guest.prepare(access, address)
            try measurement.take { try guest.play(rounds) }
            measurement.nanoseconds = guest.nanoseconds
        }
    }
}

/// A guest that asks a device, the gate, how often it is to do something, does it as often, and asks again.
private final class ExitingGuest {
    static let portIn: [UInt8] = [0xec, 0x90], portOut: [UInt8] = [0xee, 0x90]  // in al, dx; out dx, al; nop
    static let load: [UInt8] = [0x8b, 0x06], store: [UInt8] = [0x89, 0x06]  // mov eax, [rsi]; mov [rsi], eax
    private let machine: GuestMachine
    private let gate: Gate
    private let cpu: VCPU
    private let code: UInt64

    /// From the first exit to the end of the last.
    var nanoseconds: UInt64 { gate.nanoseconds }

    /// Nil where the processor is not an x86 one. The guest runs in 64-bit mode.
    init?(_ machine: GuestMachine, _ kvm: any VirtualMachine) throws {
        self.machine = machine
        let gate = try Gate()
        self.gate = gate
        try machine.ports.root.add(try Region.io(name: "gate", size: 4, ops: gate), at: 0xe8)
        let processor = try kvm.createVCPU(id: 0)
        guard processor.x86 != nil else { return nil }
        code = machine.allocate(4096)
        let ram = machine.memory, tables = machine.allocate(0x4000)
        // Pages of 2 MiB, which map the first 4 GiB to itself: one table of each of the upper levels, with 4 entries in the second.
        let directories = machine.allocate(0x4000)
        try ram.store(tables + 0x1003, at: tables)
        for index in 0..<4 as Range<UInt64> { try ram.store(directories + 4096 * index + 3, at: tables + 0x1000 + 8 * index) }
        for page in 0..<2048 as Range<UInt64> { try ram.store(page << 21 | 0x83, at: directories + 8 * page) }
        var image = X86RegisterImage()
        (image.rip, image.rsp) = (code, tables + 0x3ff0)
        image.cs = X86Segment(selector: 0x10, descriptor: 0x00af_9b00_0000_ffff)
        let data = X86Segment(selector: 0x18, descriptor: 0x00cf_9300_0000_ffff)
        (image.ds, image.es, image.ss) = (data, data, data)
        (image.cr0, image.cr3, image.cr4, image.efer) = (image.cr0 | 0x8000_0001, tables, 0x20, 0x500)
        cpu = VCPU(id: 0, virtualCPU: processor, ports: machine.ports, memory: machine.space, topology: try CPUTopology()) { _, _ in gate.close() }
        try machine.loop.add(gate.arrived.raw, .readable) { _ in gate.arrived.drain() }
        cpu.prepare(image)
        try prepare(Self.portIn, 0x80)
        try cpu.start()
        try waitForGuest()
    }

    deinit {
        cpu.stop()
        gate.close()
        cpu.join()
    }

    /// What the guest does, and where, from its next turn on.
    func prepare(_ access: [UInt8], _ address: UInt64) throws {
        let number = withUnsafeBytes(of: UInt32(truncatingIfNeeded: address).littleEndian) { [UInt8]($0) }
        let start: [UInt8] = [0xe5, 0xe8, 0x89, 0xc1]  // start: in eax, 0xe8; mov ecx, eax
        let place: [UInt8] = [0xba] + number + [0xbe] + number  // mov edx, address; mov esi, address
        let loop: [UInt8] = [0xff, 0xc9, 0x75, 0xfa, 0xeb, 0xea]  // again: (access); dec ecx; jnz again; jmp start
        try machine.memory.write(at: code, bytes: start + place + access + loop)
    }

    func play(_ count: Int) throws {
        gate.open(UInt32(count))
        try waitForGuest()
    }

    private func waitForGuest() throws {
        try machine.turn { gate.isShut }
        guard !gate.isClosed else { throw OperationError.refused("the guest has ended") }
    }
}

/// The guest waits in a read of it until somebody says how often.
private final class Gate: RegionOps, @unchecked Sendable {
    private enum State { static let open: UInt32 = 0, shut: UInt32 = 1, closed: UInt32 = 2 }
    let arrived: EventFD
    private let state = WaitWord(State.open)
    /// The guest's thread has them while the gate is open, who opens it while it is shut.
    private var count: UInt32 = 0
    private var opened: UInt64 = 0
    private(set) var nanoseconds: UInt64 = 0

    init() throws { arrived = try EventFD() }

    var isShut: Bool { state.value != State.open }
    var isClosed: Bool { state.value == State.closed }

    func open(_ count: UInt32) {
        self.count = count
        if state.exchange(State.shut, for: State.open) { state.wakeAll() }
    }

    func close() {
        state.store(State.closed)
        state.wakeAll()
        arrived.signal()
    }

    func read(offset: UInt64, size: Int) -> UInt64 {
        nanoseconds = Clock.monotonicNanoseconds() &- opened
        if state.exchange(State.open, for: State.shut) { arrived.signal() }
        while state.value == State.shut { state.wait(while: State.shut) }
        opened = Clock.monotonicNanoseconds()
        return UInt64(count)
    }

    func write(offset: UInt64, size: Int, value: UInt64) {}
}
