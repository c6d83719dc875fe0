/// A balloon that follows the guest's need.
///
/// What the guest could spare is what it has available now plus what is in the balloon. A part of that stays with the guest as a buffer, the rest goes into the
/// balloon. The sum does not change when the balloon does, so the size settles at once.
public struct AutoBalloon: Equatable, Sendable {
    /// 20 to 80: the part, in percent, that stays with the guest.
    public var bufferPercent: UInt32
    /// Seconds between two looks, 5 to 300.
    public var interval: UInt32

    public init(bufferPercent: UInt32, interval: UInt32) {
        self.bufferPercent = bufferPercent
        self.interval = interval
    }

    /// Pages that should be in the balloon. `memory` (pages) is all that the guest has, `available` (bytes) and `inflated` (pages) are what it says.
    func target(available: UInt64, inflated: UInt32, memory: UInt32) -> UInt32 {
        // Each at most 2^52, so the sum does not wrap; a guest that claims more than there is has it all.
        let spare = min(available / BalloonHost.pageSize &+ UInt64(inflated), UInt64(memory))
        return UInt32(truncatingIfNeeded: spare * UInt64(100 - min(bufferPercent, 100)) / 100)
    }

    /// Changes that are smaller, in pages, would only keep the guest busy.
    static func leastChange(memory: UInt32) -> UInt32 { memory / 128 }
}
