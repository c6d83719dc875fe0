import AddressSpace
import HypervisorTesting
import Testing
@testable import Virtio

@Suite struct HostileRegisterTests {
    private static let readable: [MMIORegister] = [
        .magic, .version, .deviceID, .vendorID, .deviceFeatures, .queueSizeMaximum, .queueReady, .interruptStatus, .status, .sharedMemoryLengthLow,
        .sharedMemoryLengthHigh, .sharedMemoryBaseLow, .sharedMemoryBaseHigh, .configGeneration,
    ]

    private enum Stage: CaseIterable { case reset, acknowledged, driver, featuresOK, running, needsReset, failed }

    private func guest(_ stage: Stage) throws -> Guest {
        let guest = try Guest()
        switch stage {
        case .reset: break
        case .acknowledged: guest.write(.status, 1)
        case .driver: guest.write(.status, 3)
        case .featuresOK: guest.negotiate()
        case .running: try guest.start()
        case .needsReset:
            try guest.start()
            try guest.offer(999)
            guest.serve()
        case .failed: guest.write(.status, 0x83)
        }
        return guest
    }

    /// Class 1 and 2: every size at every offset in every state. Only aligned 32-bit reads of readable registers give a value; configuration space
    /// takes every size.
    @Test func class1_readsOfEverySizeAtEveryOffset_giveOnlyWhatTheyMay() throws {
        for stage in Stage.allCases {
            let guest = try guest(stage)
            for offset in 0..<UInt64(0x200) {
                for size in 1...8 where offset + UInt64(size) <= 0x200 {
                    let value = guest.transport.read(offset: offset, size: size)
                    if offset < 0x100 {
                        let isRegister = size == 4 && Self.readable.contains { $0.rawValue == offset }
                        if !isRegister, value != 0 { Issue.record("\(stage) \(offset) \(size) \(value)") }
                    } else if size < 8, value >> UInt64(8 * size) != 0 {
                        Issue.record("\(stage) \(offset) \(size) \(value)")
                    }
                }
            }
        }
    }

    @Test func class1_writesOfEverySizeAtEveryOffset_leaveTheDeviceUsable() throws {
        for stage in Stage.allCases {
            for value in [0, 1, 0xff, 0x8000_0000, 0xffff_ffff, UInt64.max] {
                let guest = try guest(stage)
                for offset in 0..<UInt64(0x200) {
                    for size in 1...8 where offset + UInt64(size) <= 0x200 {
                        let before = guest.status
                        guest.transport.write(offset: offset, size: size, value: size == 8 ? value : value & (1 << UInt64(8 * size) - 1))
                        if offset != 0x70 || size != 4, guest.status != before { Issue.record("\(stage) \(value) \(offset) \(size)") }
                    }
                }
                guest.serve()
                #expect(try guest.start())
                #expect(try guest.request(RequestType.flush).status == BlockStatus.ok)
            }
        }
    }

    @Test func accesses_outsideTheWindow_areIgnored() throws {
        let guest = try Guest()
        for offset in [0x200, 0x201, 0x1000, 1 << 32, UInt64.max] {
            #expect(guest.transport.read(offset: offset, size: 4) == 0)
            guest.transport.write(offset: offset, size: 4, value: 1)
        }
        #expect(guest.transport.read(offset: 0x100, size: 0) == 0)
        #expect(guest.transport.read(offset: 0x100, size: 9) == 0)
        #expect(guest.transport.read(offset: 0x100, size: -1) == 0)
    }
}
