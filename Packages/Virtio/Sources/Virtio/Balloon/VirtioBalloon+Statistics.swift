internal import LinuxSys

/// The driver gives one buffer of statistics, and fills it anew each time it gets it back (section 5.5.6.3). It is kept until somebody wants to know, so a driver
/// that gives more of them is served no faster.
extension VirtioBalloon {
    /// Takes the next buffer, unless one is held.
    func takeStatistics(_ queue: SplitQueue, _ session: Session) -> ServiceResult {
        queue.disableNotifications()
        do {
            while heldStatistics == nil {
                guard try queue.pop(into: chain) else {
                    if try queue.enableNotifications() { continue }
                    return .idle
                }
                heldStatistics = chain.head
                let count = chain.copyOut(from: 0, into: &piece, limit: BalloonStatistics.largestCount * BalloonStatistics.entrySize)
                if count < BalloonStatistics.entrySize {
                    droppedRequests &+= 1
                } else if host.take(piece.span.extracting(0..<count), at: Clock.realtimeNanoseconds() / 1_000_000_000) {
                    session.control.configurationChanged()
                }
            }
        } catch {
            return .fault(.needsReset(error))
        }
        return .idle
    }

    /// Gives the buffer back, by which the driver knows that it should fill it.
    func requestStatistics(_ queue: SplitQueue, _ session: Session) -> ServiceResult {
        guard let head = heldStatistics else { return .idle }
        heldStatistics = nil
        queue.push(head: head, written: 0)
        if queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) }
        return takeStatistics(queue, session)
    }
}
