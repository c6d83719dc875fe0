import AddressSpace
@testable import Hypervisor
import LinuxSys
import Testing

@Suite struct KVMPayloadTests {
    @Test func run_portAndMMIOAccesses_comeBackAsExitsAndAnswersReachTheGuest() throws {
        let guest = try Guest([
            0xB0, 0x5A, 0xE6, 0xE2,  // mov al, 0x5a; out 0xe2, al
            0x66, 0xE5, 0xE3,  // in ax, 0xe3
            0xBE, 0, 0, 0, 0x80,  // mov esi, 0x80000000
            0x0F, 0xB7, 0xC8, 0x89, 0x0E,  // movzx ecx, ax; mov [rsi], ecx
            0x48, 0x8B, 0x56, 0x08,  // mov rdx, [rsi + 8]
            0x48, 0x89, 0x56, 0x10,  // mov [rsi + 16], rdx
            0x88, 0x56, 0x18,  // mov [rsi + 24], dl
            0x0F, 0x0B,  // ud2: no IDT, hence a triple fault
        ])
        try guest.enterLongMode()
        #expect(guest.run() == .portOut(port: 0xE2, size: 1, count: 1))
        #expect(guest.cpu.portItem(0) == 0x5A)
        #expect(guest.run() == .portIn(port: 0xE3, size: 2, count: 1))
        guest.cpu.setPortItem(0, 0xFFFF_BEEF)
        #expect(guest.run() == .mmioWrite(address: 0x8000_0000, size: 4, value: 0xBEEF))
        #expect(guest.run() == .mmioRead(address: 0x8000_0008, size: 8))
        guest.cpu.setMMIOValue(0x1122_3344_5566_7788)
        #expect(guest.run() == .mmioWrite(address: 0x8000_0010, size: 8, value: 0x1122_3344_5566_7788))
        #expect(guest.run() == .mmioWrite(address: 0x8000_0018, size: 1, value: 0x88))
        #expect(guest.run() == .shutdown)
    }

    @Test func run_stringPortInstructions_moveEachItem() throws {
        let guest = try Guest([
            0xBE, 0x00, 0x10, 0x00, 0x00,  // mov esi, 0x1000: the code itself is the text
            0xB9, 5, 0, 0, 0, 0x66, 0xBA, 0xE2, 0, 0xF3, 0x6E,  // mov ecx, 5; mov dx, 0xe2; rep outsb
            0xBF, 0x00, 0x30, 0x00, 0x00, 0xB9, 3, 0, 0, 0, 0x66, 0xF3, 0x6D,  // mov edi, 0x3000; mov ecx, 3; rep insw
            0xF4,  // hlt
        ])
        try guest.enterLongMode()
        var text: [UInt8] = []
        while text.count < 5 {
            guard case .portOut(0xE2, 1, let count) = guest.run() else { break }
            for item in 0..<count { text.append(UInt8(truncatingIfNeeded: guest.cpu.portItem(item))) }
        }
        #expect(text == [0xBE, 0x00, 0x10, 0x00, 0x00])
        var given: UInt32 = 0
        while given < 3 {
            guard case .portIn(0xE2, 2, let count) = guest.run() else { break }
            for item in 0..<count {
                given += 1
                guest.cpu.setPortItem(item, 0x100 + given)
            }
        }
        // The kernel stores the last items when the guest is entered again.
        guest.cpu.setImmediateExit(true)
        #expect(guest.cpu.run() == .interrupted)
        let words = try (0..<3).map { try guest.memory.memory.load(UInt16.self, at: 0x3000 + 2 * $0) }
        #expect(words == [0x101, 0x102, 0x103])
    }

    @Test func portItems_outsideTheAccess_areIgnored() throws {
        let guest = try Guest([0xE6, 0xE2, 0xE4, 0xE3, 0x0F, 0x0B])
        try guest.enterLongMode()
        #expect(guest.run() == .portOut(port: 0xE2, size: 1, count: 1))
        #expect(guest.cpu.portItem(1) == 0)
        #expect(guest.cpu.portItem(-1) == 0)
        #expect(guest.cpu.portItem(.max) == 0)
        guest.cpu.setPortItem(0, 1)
        #expect(guest.run() == .portIn(port: 0xE3, size: 1, count: 1))
        guest.cpu.setPortItem(.max, 1)
        guest.cpu.setPortItem(-1, 1)
        guest.cpu.setMMIOValue(.max)
        let cpu = try #require(guest.cpu as? KVMVirtualCPU)
        #expect(!cpu.itemsFit(offset: .max, size: 4, count: .max))
        #expect(!cpu.itemsFit(offset: UInt64(cpu.sharedSize), size: 1, count: 1))
        #expect(cpu.itemsFit(offset: UInt64(cpu.sharedSize) - 1, size: 1, count: 1))
        #expect(!cpu.itemsFit(offset: 4096, size: 3, count: 1))
        #expect(!cpu.itemsFit(offset: 0, size: 1, count: 1))
    }

    @Test func run_instructionThatIsNotThere_isATripleFaultNotATrap() throws {
        let guest = try Guest([0x0F, 0x0B])
        try guest.enterLongMode()
        #expect(guest.run() == .shutdown)
        #expect(guest.cpu.diagnosis().contains("rip 0x1000"))
    }

    @Test func immediateExit_set_returnsBeforeAnyInstruction() throws {
        let guest = try Guest([0xE6, 0xE2, 0x0F, 0x0B])
        try guest.enterLongMode()
        guest.cpu.setImmediateExit(true)
        #expect(guest.cpu.run() == .interrupted)
        #expect(guest.cpu.run() == .interrupted)
        guest.cpu.setImmediateExit(false)
        #expect(guest.run() == .portOut(port: 0xE2, size: 1, count: 1))
    }

    @Test func ioEventFDs_matchingWrites_signalWithoutExit() throws {
        let guest = try Guest([
            0xBE, 0x50, 0, 0, 0x80,  // mov esi, 0x80000050
            0xC7, 0x06, 7, 0, 0, 0, 0xC7, 0x06, 8, 0, 0, 0,  // mov dword [rsi], 7; mov dword [rsi], 8
            0xB0, 1, 0xE6, 0x60, 0xB0, 2, 0xE6, 0x60,  // mov al, 1; out 0x60, al; mov al, 2; out 0x60, al
            0x0F, 0x0B,
        ])
        let (seven, one) = (try EventFD(), try EventFD())
        let ops = Silent()
        let device = try Region.io(name: "device", size: 0x1000, ops: ops)
        try device.addIOEventFD(offset: 0x50, size: 4, datamatch: 7, event: seven)
        try guest.memory.root.add(device, at: 0x8000_0000)
        let port = try Region.io(name: "port", size: 4, ops: ops)
        try port.addIOEventFD(offset: 0, size: 1, datamatch: 1, event: one)
        try guest.ports.root.add(port, at: 0x60)
        try guest.enterLongMode()
        #expect(guest.run() == .mmioWrite(address: 0x8000_0050, size: 4, value: 8))
        #expect(seven.drain() == 1)
        #expect(guest.run() == .portOut(port: 0x60, size: 1, count: 1))
        #expect(guest.cpu.portItem(0) == 2)
        #expect(one.drain() == 1)
        // Gone with the region.
        try guest.memory.root.remove(device)
        try guest.ports.root.remove(port)
        var general = X86GeneralRegisters()
        general.rip = Guest.code
        try guest.cpu.x86?.setGeneralRegisters(general)
        #expect(guest.run() == .mmioWrite(address: 0x8000_0050, size: 4, value: 7))
        #expect(seven.drain() == 0)
    }

    @Test func romDevice_readsComeFromMemoryAndWritesExit() throws {
        let guest = try Guest([
            0x8B, 0x04, 0x25, 0, 0, 0x10, 0, 0xE7, 0x44,  // mov eax, [0x100000]; out 0x44, eax
            0xC7, 0x04, 0x25, 0, 0, 0x10, 0, 0x44, 0x33, 0x22, 0x11,  // mov dword [0x100000], 0x11223344
            0x8B, 0x04, 0x25, 0, 0, 0x10, 0, 0xE7, 0x44, 0x0F, 0x0B,
        ])
        let flash = try HostMemory.anonymous(size: 0x1000)
        let rom = try Region.romDevice(name: "flash", size: 0x1000, memory: flash, ops: Silent())
        try guest.memory.root.add(rom, at: 0x10_0000)
        try guest.enterLongMode()
        #expect(guest.run() == .portOut(port: 0x44, size: 4, count: 1))
        #expect(guest.run() == .mmioWrite(address: 0x10_0000, size: 4, value: 0x1122_3344))
        #expect(guest.run() == .portOut(port: 0x44, size: 4, count: 1))
        #expect(guest.cpu.portItem(0) == 0)
        // In I/O mode the slot is gone and reads exit too.
        try rom.setROMMode(false)
        var general = X86GeneralRegisters()
        general.rip = Guest.code
        try guest.cpu.x86?.setGeneralRegisters(general)
        #expect(guest.run() == .mmioRead(address: 0x10_0000, size: 4))
    }

    /// Waits in HLT inside KVM for an interrupt on input `gsi` of the I/O APIC, and says so on ports 0xe0 and 0xe1. It never touches the PIC, which has
    /// inputs 0 to 15 too: an interrupt from there would come at a vector without a gate, and be a triple fault.
    private func waitingGuest(gsi: UInt8, triggerLevel: Bool = false) throws -> Guest {
        let register = 0x10 + 2 * gsi
        let guest = try Guest([
            0xC7, 0x05, 0x00, 0x00, 0xC0, 0xFE, register, 0, 0, 0,  // mov dword [0xfec00000], register
            0xC7, 0x05, 0x10, 0x00, 0xC0, 0xFE, 0x30, triggerLevel ? 0x80 : 0, 0, 0,  // mov dword [0xfec00010], vector 0x30
            0xC7, 0x05, 0x00, 0x00, 0xC0, 0xFE, register + 1, 0, 0, 0,
            0xC7, 0x05, 0x10, 0x00, 0xC0, 0xFE, 0, 0, 0, 0,  // to APIC 0
            0xC7, 0x05, 0xF0, 0x00, 0xE0, 0xFE, 0xFF, 1, 0, 0,  // local APIC on
            0xE6, 0xE0, 0xFB,  // out 0xe0, al; sti
            0xF4, 0xEB, 0xFD,  // 1: hlt; jmp 1b
        ])
        // out 0xe1, al; mov dword [0xfee000b0], 0 (end of interrupt); sti; 1: hlt; jmp 1b. It never returns: KVM does not emulate iret outside real mode.
        try guest.memory.memory.write(
            at: 0x1800, bytes: [0xE6, 0xE1, 0xC7, 0x05, 0xB0, 0x00, 0xE0, 0xFE, 0, 0, 0, 0, 0xFB, 0xF4, 0xEB, 0xFD])
        try guest.enterFlatMode(handler: 0x1800)
        return guest
    }

    @Test(arguments: [UInt8(5), 16, 17, 23]) func interruptLine_pulse_interruptsTheGuestOncePerEdge(gsi: UInt8) throws {
        let guest = try waitingGuest(gsi: gsi)
        let line = try guest.machine.makeInterruptLine(gsi: UInt32(gsi))
        #expect(guest.run() == .portOut(port: 0xE0, size: 1, count: 1))
        line.pulse()
        #expect(guest.run() == .portOut(port: 0xE1, size: 1, count: 1))
        line.pulse()
        #expect(guest.run() == .portOut(port: 0xE1, size: 1, count: 1))
    }

    /// As a guest that does use the PIC: initialization opens all inputs (8259A datasheet, ICW1), here with vectors from 0x30 on.
    @Test func pic_initializedByTheGuest_delivers() throws {
        let guest = try Guest([
            0xB0, 0x11, 0xE6, 0x20, 0xB0, 0x30, 0xE6, 0x21,  // out 0x20, 0x11 (ICW1); out 0x21, 0x30 (ICW2)
            0xB0, 0x04, 0xE6, 0x21, 0xB0, 0x01, 0xE6, 0x21,  // out 0x21, 4 (ICW3); out 0x21, 1 (ICW4)
            0xE6, 0xE0, 0xFB,  // out 0xe0, al; sti
            0xF4, 0xEB, 0xFD,  // 1: hlt; jmp 1b
        ])
        try guest.memory.memory.write(at: 0x1800, bytes: [0xE6, 0xE1, 0xF4])  // out 0xe1, al; hlt
        try guest.enterFlatMode(handler: 0x1800)
        let line = try guest.machine.makeInterruptLine(gsi: 0)
        #expect(guest.run() == .portOut(port: 0xE0, size: 1, count: 1))
        line.pulse()
        #expect(guest.run() == .portOut(port: 0xE1, size: 1, count: 1))
    }

    @Test func interruptLine_heldHigh_interruptsUntilLowered() throws {
        let guest = try waitingGuest(gsi: 9, triggerLevel: true)
        let line = try guest.machine.makeInterruptLine(gsi: 9)
        #expect(guest.run() == .portOut(port: 0xE0, size: 1, count: 1))
        line.set(level: true)
        #expect(guest.run() == .portOut(port: 0xE1, size: 1, count: 1))
        #expect(guest.run() == .portOut(port: 0xE1, size: 1, count: 1))
        line.set(level: false)
    }
}

private final class Silent: RegionOps {
    func read(offset: UInt64, size: Int) -> UInt64 { 0 }
    func write(offset: UInt64, size: Int, value: UInt64) {}
}
