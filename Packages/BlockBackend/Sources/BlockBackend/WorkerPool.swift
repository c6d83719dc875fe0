internal import LinuxSys
internal import Synchronization

/// A few threads, started when there is work for them, that perform transfers with blocking calls.
///
/// The owner calls `enqueue`, `kick`, `next` and `stop`. A transfer in the table belongs to the pool from `enqueue` until `next` returns its index.
final class WorkerPool: Sendable {
    private struct State {
        var jobs: IndexQueue
        var finished: IndexQueue
        var results: [Int32]
        /// Indices of sleeping workers, the most recent last: its stack and caches are warm.
        var idle: [Int] = []
        /// Workers that were woken or started and have not looked for work yet.
        var coming = 0
        var threads: [OSThread] = []
        var isStopping = false
    }

    private let image: ImageFile
    private let transfers: TransferTable
    private let completion: EventFD
    private let name: String
    private let limit: Int
    private let state: Mutex<State>
    /// One a worker: 1 when it is to look for work.
    private let wake: [WaitWord]
    private static let idleNanoseconds: Int64 = 1_000_000_000

    init(_ image: ImageFile, _ transfers: TransferTable, _ completion: EventFD, name: String, limit: Int) {
        self.image = image
        self.transfers = transfers
        self.completion = completion
        self.name = name
        self.limit = limit
        wake = (0..<limit).map { _ in WaitWord() }
        let queue = IndexQueue(capacity: transfers.capacity)
        var state = State(jobs: queue, finished: queue, results: Array(repeating: 0, count: transfers.capacity))
        state.idle.reserveCapacity(limit)
        self.state = Mutex(state)
    }

    /// Takes the transfer at `index`. No worker is woken before `kick`, though one that is busy may take it.
    func enqueue(_ index: Int) {
        state.withLock { $0.jobs.push(index) }
    }

    private enum KickStep { case done, again, wake(Int), runHere }

    /// Wakes or starts workers, one a job at most.
    func kick() {
        while true {
            switch state.withLock({ kickStep(&$0) }) {
            case .done: return
            case .again: continue
            case .wake(let worker):
                wake[worker].store(1)
                wake[worker].wakeAll()
            case .runHere:
                var bounce = BounceBuffer()
                while runOne(&bounce) {}
                return
            }
        }
    }

    private func kickStep(_ state: inout State) -> KickStep {
        guard state.jobs.count > state.coming else { return .done }
        if let worker = state.idle.popLast() {
            state.coming &+= 1
            return .wake(worker)
        }
        let worker = state.threads.count
        guard worker < limit else { return .done }
        do {
            // The stack takes memory as it is touched, about 8 KiB.
            state.threads.append(try OSThread.start(name: name, stackSize: 64 << 10) { [self] in work(worker) })
            state.coming &+= 1
            return .again
        } catch {
            // A host at its limit of threads makes I/O slow, not stuck: without any worker the owner does the work.
            return state.threads.isEmpty ? .runHere : .done
        }
    }

    /// Threads started so far.
    var threadCount: Int { state.withLock { $0.threads.count } }

    /// A transfer that is finished, and its result.
    func next() -> (index: Int, result: Int32)? {
        state.withLock { state in
            guard let index = state.finished.pop() else { return nil }
            return (index, state.results[index])
        }
    }

    /// Ends the workers after the jobs that they have. The owner has drained before, so none is lost.
    func stop() {
        let threads = state.withLock { state in
            state.isStopping = true
            state.idle.removeAll(keepingCapacity: true)
            return state.threads
        }
        for word in wake {
            word.store(1)
            word.wakeAll()
        }
        for thread in threads { thread.join() }
        state.withLock { $0.threads = [] }
    }

    private enum WorkStep { case again, sleep, stop }

    private func work(_ worker: Int) {
        var bounce = BounceBuffer()
        state.withLock { $0.coming &-= 1 }
        while true {
            if runOne(&bounce) { continue }
            let step: WorkStep = state.withLock { state in
                if state.jobs.count > 0 { return .again }
                if state.isStopping { return .stop }
                wake[worker].store(0)
                state.idle.append(worker)
                return .sleep
            }
            switch step {
            case .again: continue
            case .sleep: sleep(worker, &bounce)
            case .stop: return
            }
        }
    }

    private func sleep(_ worker: Int, _ bounce: inout BounceBuffer) {
        wake[worker].wait(while: 0, nanoseconds: Self.idleNanoseconds)
        if wake[worker].value == 0 { bounce.release() }
        while wake[worker].value == 0 { wake[worker].wait(while: 0) }
        state.withLock { $0.coming &-= 1 }
    }

    /// Performs one job, if there is one.
    private func runOne(_ bounce: inout BounceBuffer) -> Bool {
        guard let index = state.withLock({ $0.jobs.pop() }) else { return false }
        let result = image.perform(&transfers[index], &bounce)
        let isFirst = state.withLock { state in
            state.results[index] = result
            state.finished.push(index)
            return state.finished.count == 1
        }
        // The owner empties the queue once it was signalled: only the first entry has to wake it.
        if isFirst { completion.signal() }
        return true
    }
}
