import AddressSpace
import Glibc
import LinuxSys
@testable import Virtio

/// The rings that a relay gave a fake back end, as that sees them: it takes heads and gives them back in any order, or writes what it likes.
final class RelayPeer {
    let memory: HostMemory
    private let available: RingArea
    private let used: RingArea
    private let size: UInt16
    private let kick: Int32
    private let call: Int32
    var nextAvailable: UInt16
    var nextUsed: UInt16 = 0

    /// Nil until the back end has been told all of it.
    init?(_ backEnd: FakeBackEnd, ring: UInt32) throws {
        let messages = backEnd.messages
        guard let table = messages.last(where: { $0.request == VhostUserRequest.setMemoryTable.rawValue }),
            let addresses = messages.last(where: { $0.request == VhostUserRequest.setRingAddresses.rawValue && $0.word(0) == ring }),
            let number = messages.last(where: { $0.request == VhostUserRequest.setRingSize.rawValue && $0.word(0) == ring }),
            let base = messages.last(where: { $0.request == VhostUserRequest.setRingBase.rawValue && $0.word(0) == ring }),
            let kick = backEnd.kick(ring), let call = backEnd.call(ring), let file = backEnd.memoryFiles.last
        else { return nil }
        let piece = 8 + 32 * (Int(table.word(0)) - 1)
        let copy = OwnedFD(adopting: dup(file))
        memory = try HostMemory.mapping(copy, offset: table.long(piece + 24), size: table.long(piece + 8))
        size = UInt16(number.word(4))
        let user = table.long(piece + 16)
        used = RingArea(memory, offset: addresses.long(16) - user, count: 6 + 8 * Int(size))
        available = RingArea(memory, offset: addresses.long(24) - user, count: 6 + 2 * Int(size))
        nextAvailable = UInt16(base.word(4))
        self.kick = kick
        self.call = call
    }

    /// Waits for a relay's rings.
    static func wait(_ backEnd: FakeBackEnd, ring: UInt32, _ turn: () -> Void = {}) throws -> RelayPeer? {
        for _ in 0..<5000 {
            turn()
            if backEnd.requests.contains(VhostUserRequest.setRingEnable.rawValue), let peer = try RelayPeer(backEnd, ring: ring) { return peer }
            Clock.sleep(nanoseconds: 1_000_000)
        }
        return nil
    }

    /// How often it was notified.
    func kicks() -> Int {
        var bytes = [UInt8](repeating: 0, count: 4096)
        return max(0, Glibc.read(kick, &bytes, 4096)) / 8
    }

    /// What the driver has queued.
    func take() -> [UInt16] {
        var heads: [UInt16] = []
        while nextAvailable != available.loadAcquire16(2) {
            heads.append(available.load16(4 + 2 * Int(nextAvailable & (size - 1))))
            nextAvailable &+= 1
        }
        return heads
    }

    /// Gives heads back; `says`: the interrupt.
    func give(_ heads: [UInt32], length: UInt32 = 1, says: Bool = true) throws {
        for head in heads {
            let entry = 4 + 8 * Int(nextUsed & (size - 1))
            used.store32(head, entry)
            used.store32(length, entry + 4)
            nextUsed &+= 1
        }
        setUsedIndex(nextUsed)
        if says { try say() }
    }

    func setUsedIndex(_ index: UInt16) { used.storeRelease16(index, 2) }
    func say() throws { try OwnedFDBorrow.write(call, [1, 0, 0, 0, 0, 0, 0, 0]) }
}
